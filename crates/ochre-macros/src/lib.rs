//! The derives behind "declare once": `Schema` turns a struct into a wire schema (metadata, JSON, form
//! decoding, range and support checks), `Choice` does the same for an enum of named options.
//!
//! ```ignore
//! #[derive(Clone, Schema)]
//! #[api(name = "TreeParametersV3", inherits = "SharedTreeParametersV3")]
//! struct TreeParams {
//!     /// Number of trees.
//!     #[api(default = 50, range = "[1, 100000]", gridable)]
//!     ntrees: i32,
//! }
//! ```
//!
//! This crate must know nothing of what is declared with it.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, Ident, LitStr, Token, parenthesized, parse::ParseStream};

#[derive(Default)]
struct Options {
    flags: Vec<String>,
    texts: Vec<(String, String)>,
    default: Option<Expr>,
    overrides: Vec<(Ident, Expr)>,
    omit: Vec<String>,
    /// Fields of a flattened struct that are taken but not shown.
    hide: Vec<String>,
    lists: Vec<(String, Vec<String>)>,
}

impl Options {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
    fn text(&self, name: &str) -> Option<&str> {
        self.texts.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    fn list(&self, name: &str) -> &[String] {
        self.lists.iter().find(|(n, _)| n == name).map_or(&[], |(_, v)| v)
    }
}

fn options(attrs: &[Attribute]) -> syn::Result<Options> {
    let mut o = Options::default();
    for attr in attrs.iter().filter(|a| a.path().is_ident("api")) {
        attr.parse_args_with(|input: ParseStream| {
            while !input.is_empty() {
                // `default` and friends are ordinary identifiers here; `ref`-like keywords never occur.
                let word: Ident = input.call(syn::ext::IdentExt::parse_any)?;
                let name = word.to_string();
                if input.peek(Token![=]) {
                    input.parse::<Token![=]>()?;
                    if name == "default" {
                        o.default = Some(input.parse()?);
                    } else {
                        o.texts.push((name, input.parse::<LitStr>()?.value()));
                    }
                } else if input.peek(syn::token::Paren) {
                    let inner;
                    parenthesized!(inner in input);
                    while !inner.is_empty() {
                        match name.as_str() {
                            "default" => {
                                let field: Ident = inner.parse()?;
                                inner.parse::<Token![=]>()?;
                                o.overrides.push((field, inner.parse()?));
                            }
                            "omit" => o.omit.push(inner.parse::<Ident>()?.to_string()),
                            "hide" => o.hide.push(inner.parse::<Ident>()?.to_string()),
                            _ => {
                                let item = inner.parse::<LitStr>()?.value();
                                match o.lists.iter_mut().find(|(n, _)| *n == name) {
                                    Some((_, items)) => items.push(item),
                                    None => o.lists.push((name.clone(), vec![item])),
                                }
                            }
                        }
                        if !inner.is_empty() {
                            inner.parse::<Token![,]>()?;
                        }
                    }
                } else {
                    o.flags.push(name);
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        })?;
    }
    Ok(o)
}

fn doc(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident("doc")) {
        if let syn::Meta::NameValue(nv) = &attr.meta
            && let Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }) = &nv.value
        {
            lines.push(s.value().trim().to_string());
        }
    }
    lines.join(" ")
}

fn optional(text: Option<&str>) -> Tokens {
    match text {
        Some(t) => quote!(Some(#t)),
        None => quote!(None),
    }
}

/// Declares a wire schema; see the crate's documentation for the attributes.
#[proc_macro_derive(Schema, attributes(api))]
pub fn schema(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand_schema(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

fn expand_schema(input: &DeriveInput) -> syn::Result<Tokens> {
    let name = &input.ident;
    let own = options(&input.attrs)?;
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(name, "Schema derives for structs; use Choice for enums"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(syn::Error::new_spanned(name, "Schema needs named fields"));
    };
    let wire_name = own.text("name").unwrap_or("").to_string();
    let version: i32 = own.text("version").and_then(|v| v.parse().ok()).unwrap_or(3);
    let superclass = own.text("superclass").unwrap_or(if own.has("request") { "RequestSchemaV3" } else { "SchemaV3" });
    let iced = own.text("iced").unwrap_or("Iced");
    let request = own.has("request");

    let (mut defaults, mut decls, mut puts, mut sets, mut checks) = (vec![], vec![], vec![], vec![], vec![]);
    for field in &fields.named {
        let ident = field.ident.as_ref().expect("named");
        let ty = &field.ty;
        let o = options(&field.attrs)?;
        if o.has("skip") {
            let value = o.default.as_ref().map_or(quote!(Default::default()), |e| quote!(#e));
            defaults.push(quote!(#ident: #value));
            continue;
        }
        if o.has("flatten") {
            let (names, exprs): (Vec<_>, Vec<_>) = o.overrides.iter().cloned().unzip();
            defaults.push(quote!(#ident: { #[allow(unused_mut)] let mut v = <#ty>::default(); #( v.#names = #exprs.into(); )* v }));
            let (omit, hide) = (&o.omit, &o.hide);
            decls.push(quote!(out.extend(<#ty as ::ochre_schema::Schema>::fields_of(&this.#ident).into_iter()
                .filter(|f| !out_has(&out, f.name))
                .map(|mut f| { f.internal |= <[&str]>::contains(&[#(#omit,)* #(#hide),*], &f.name); if f.inherited_from.is_none() { f.inherited_from = <#ty as ::ochre_schema::Schema>::META.inherits(); } f })
                .collect::<Vec<_>>());));
            puts.push(quote!({ let mut inner = ::ochre_schema::Map::new(); ::ochre_schema::Schema::put(&self.#ident, &mut inner);
                for (k, v) in inner { if !<[&str]>::contains(&[#(#omit),*], &k.as_str()) && !out.contains_key(&k) { out.insert(k, v); } } }));
            sets.push(quote!(if !<[&str]>::contains(&[#(#omit),*], &name) && let Some(done) = ::ochre_schema::Schema::set(&mut self.#ident, name, text) { return Some(done); }));
            checks.push(quote!(::ochre_schema::Schema::check(&self.#ident, notes);));
            continue;
        }
        let wire = o.text("name").map(str::to_string).unwrap_or_else(|| ident.to_string().trim_start_matches("r#").to_string());
        let default = o.default.as_ref().map_or(quote!(Default::default()), |e| quote!((#e).into()));
        defaults.push(quote!(#ident: #default));
        let help = doc(&field.attrs);
        let level = if o.has("secondary") {
            "secondary"
        } else if o.has("expert") {
            "expert"
        } else {
            "critical"
        };
        let direction = ["input", "output", "inout"]
            .into_iter()
            .find(|d| o.has(d))
            .or_else(|| ["input", "output", "inout"].into_iter().find(|d| own.has(d)))
            .unwrap_or("input")
            .to_uppercase();
        let (required, gridable, internal, nojson) = (o.has("required"), o.has("gridable"), o.has("internal"), o.has("nojson"));
        let unsupported = o.has("unsupported");
        let (type_name, schema_name, choice_name) = (optional(o.text("ty")), optional(o.text("schema")), optional(o.text("choice")));
        let range = optional(o.text("range"));
        let inherited = optional(o.text("inherits").or(own.text("inherits")));
        let (member_of, exclusive) = (o.list("member_of"), o.list("exclusive"));
        let listed = o.list("values");
        decls.push(quote!({
            let declared: Option<&'static str> = #type_name;
            let choice: Option<&'static str> = #choice_name;
            let schema: Option<&'static str> = #schema_name;
            out.push(::ochre_schema::FieldDecl {
                name: #wire,
                type_name: declared.map(|t| t.to_string()).unwrap_or_else(|| <#ty as ::ochre_schema::Wire>::type_name()),
                schema_name: schema.map(|s| s.to_string()).or_else(|| <#ty as ::ochre_schema::Wire>::schema_name()),
                choice_name: choice.map(|s| s.to_string()).or_else(|| <#ty as ::ochre_schema::Wire>::choice_name()),
                default: ::ochre_schema::Wire::to_json(&this.#ident),
                help: #help, level: #level, direction: #direction, required: #required, gridable: #gridable,
                internal: #internal, json: !#nojson, supported: !#unsupported, inherited_from: #inherited, range: #range,
                values: if <[&str]>::is_empty(&[#(#listed),*]) { <#ty as ::ochre_schema::Wire>::values() } else { &[#(#listed),*] },
                member_of: &[#(#member_of),*], exclusive_with: &[#(#exclusive),*],
            });
        }));
        if !nojson {
            puts.push(quote!(out.insert(#wire.to_string(), ::ochre_schema::Wire::to_json(&self.#ident));));
        }
        // A text that stands for an option is one of those, in the declared spelling.
        let option = !listed.is_empty() && quote!(#ty).to_string().replace(' ', "") == "Option<String>";
        let spelled = if option {
            quote!(let text = &match ::ochre_schema::one_of(text, &[#(#listed),*]) { Ok(t) => t, Err(e) => return Some(Err(e)) };)
        } else {
            quote!()
        };
        sets.push(quote!(if name == #wire {
            #spelled
            return Some(match <#ty as ::ochre_schema::Wire>::from_text(text) { Ok(v) => { self.#ident = v; Ok(()) }, Err(e) => Err(e) });
        }));
        if let Some(range) = o.text("range") {
            checks.push(quote!(::ochre_schema::check_range(#wire, #range, ::ochre_schema::Wire::number(&self.#ident), notes);));
        }
        if unsupported {
            checks.push(quote!(::ochre_schema::check_supported(#wire, ::ochre_schema::Wire::to_json(&self.#ident),
                ::ochre_schema::Wire::to_json(&Self::default().#ident), notes);));
        }
    }
    Ok(quote! {
        impl Default for #name {
            fn default() -> Self { Self { #(#defaults),* } }
        }
        impl ::ochre_schema::Schema for #name {
            const META: ::ochre_schema::Meta = ::ochre_schema::Meta { name: #wire_name, version: #version, superclass: #superclass, iced: #iced, request: #request };
            fn fields_of(this: &Self) -> Vec<::ochre_schema::FieldDecl> {
                #[allow(unused)] fn out_has(out: &[::ochre_schema::FieldDecl], name: &str) -> bool { out.iter().any(|f| f.name == name) }
                let _ = this;
                #[allow(unused_mut)] let mut out: Vec<::ochre_schema::FieldDecl> = Vec::new();
                #(#decls)*
                out
            }
            fn put(&self, out: &mut ::ochre_schema::Map) { let _ = &out; #(#puts)* }
            #[allow(unused_variables)]
            fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> { #(#sets)* None }
            #[allow(unused_variables)]
            fn check(&self, notes: &mut ::ochre_schema::Notes) { #(#checks)* }
        }
        impl ::ochre_schema::Wire for #name {
            fn type_name() -> String { <Self as ::ochre_schema::Schema>::META.iced.to_string() }
            fn schema_name() -> Option<String> { Some(<Self as ::ochre_schema::Schema>::META.name.to_string()) }
            fn to_json(&self) -> ::ochre_schema::Value { ::ochre_schema::object(self) }
        }
    })
}

/// Declares an enum of named options. Variants may be renamed with `#[api(name = "...")]`; the first variant is the
/// default unless one is marked `#[default]`. `#[api(name = "...")]` on the enum is the published name of the set.
#[proc_macro_derive(Choice, attributes(api, default))]
pub fn choice(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand_choice(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

fn expand_choice(input: &DeriveInput) -> syn::Result<Tokens> {
    let name = &input.ident;
    let own = options(&input.attrs)?;
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new_spanned(name, "Choice derives for enums"));
    };
    let published = own.text("name").map(str::to_string).unwrap_or_else(|| name.to_string());
    let (mut idents, mut names) = (vec![], vec![]);
    let mut default = None;
    for v in &data.variants {
        let o = options(&v.attrs)?;
        if v.attrs.iter().any(|a| a.path().is_ident("default")) {
            default = Some(v.ident.clone());
        }
        idents.push(v.ident.clone());
        names.push(o.text("name").map(str::to_string).unwrap_or_else(|| v.ident.to_string()));
    }
    let default = default.unwrap_or_else(|| idents[0].clone());
    Ok(quote! {
        impl Default for #name { fn default() -> Self { #name::#default } }
        impl #name {
            /// The option's name on the wire.
            pub fn name(self) -> &'static str { match self { #( #name::#idents => #names ),* } }
            /// Every option, in declared order.
            pub const ALL: &'static [#name] = &[ #( #name::#idents ),* ];
        }
        impl ::ochre_schema::Wire for #name {
            fn type_name() -> String { "enum".to_string() }
            fn choice_name() -> Option<String> { Some(#published.to_string()) }
            fn values() -> &'static [&'static str] { &[ #( #names ),* ] }
            fn to_json(&self) -> ::ochre_schema::Value { ::ochre_schema::Value::String(self.name().to_string()) }
            fn from_text(text: &str) -> Result<Self, String> {
                let found = ::ochre_schema::option_of(text, &[#(#names),*])?;
                Ok(#name::ALL[found])
            }
        }
    })
}
