//! The declarations against the contract: what a real server of the compatible version published.

use ochre_rest::ROUTES;
use ochre_schema::FieldDecl;
use serde_json::Value;

fn contract(name: &str) -> Value {
    let path = format!("{}/tests/contract/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Differences of one field from the contract's.
fn field_differences(f: &FieldDecl, want: &Value) -> Vec<String> {
    let mut out = vec![];
    let mut same = |what: &str, got: Value, want: Value| {
        if got != want {
            out.push(format!("{}.{what}: contract {want}, declared {got}", f.name));
        }
    };
    let text = |v: &Value| v.as_str().map_or(Value::Null, |s| Value::String(s.into()));
    same("type", f.type_name.clone().into(), text(&want["type"]));
    same("schema", f.schema_name.clone().map_or(Value::Null, Value::from), text(&want["schema"]));
    same("level", f.level.into(), text(&want["level"]));
    same("direction", f.direction.into(), text(&want["direction"]));
    same("gridable", f.gridable.into(), want["gridable"].as_bool().unwrap_or(false).into());
    same("inherited_from", f.inherited_from.map_or(Value::Null, Value::from), text(&want["inherited_from"]));
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let texts = |v: &[&str]| v.iter().map(|s| Value::from(*s)).collect::<Vec<_>>();
    same("values", texts(f.values).into(), list(&want["values"]).into());
    same("member_of_frames", texts(f.member_of).into(), list(&want["member_of_frames"]).into());
    same("mutually_exclusive_with", texts(f.exclusive_with).into(), list(&want["mutually_exclusive_with"]).into());
    out
}

#[test]
fn schemas_equal_the_contract() {
    let want = contract("schemas");
    let all = want.as_object().unwrap();
    let own = ochre_rest::schemas(ochre_algos::ALGORITHMS);
    let (mut served, mut bad) = (0, vec![]);
    for s in &own {
        let Some(w) = all.get(&s.name) else {
            bad.push(format!("{} is not in the contract", s.name));
            continue;
        };
        served += 1;
        if w["superclass"] != s.superclass.as_str() || w["iced_type"] != s.iced.as_str() {
            bad.push(format!("{}: contract {} {}, declared {} {}", s.name, w["superclass"], w["iced_type"], s.superclass, s.iced));
        }
        let fields = s.all_fields();
        let wanted = w["fields"].as_array().unwrap();
        for (i, wf) in wanted.iter().enumerate() {
            let name = wf["name"].as_str().unwrap();
            // A field that is declared anew is listed a second time as inherited.
            if wanted[..i].iter().any(|x| x["name"] == name) {
                continue;
            }
            match fields.iter().find(|f| f.name == name) {
                None => bad.push(format!("{}.{name} is not declared", s.name)),
                Some(f) => bad.extend(field_differences(f, wf).into_iter().map(|d| format!("{}: {d}", s.name))),
            }
        }
        for f in fields.iter().filter(|f| !w["fields"].as_array().unwrap().iter().any(|x| x["name"] == f.name)) {
            bad.push(format!("{}.{} is declared but not in the contract", s.name, f.name));
        }
    }
    println!("{served} of {} schemas are served", all.len());
    assert!(bad.is_empty(), "{} differences:\n{}", bad.len(), bad.join("\n"));
    assert!(served >= 70);
}

/// Routes that clients use although the server's own metadata does not list them in this form.
const UNLISTED: [&str; 5] =
    ["/3/h2o-genmodel.jar", "/3/Logs/download", "/3/Logs/download/{container}", "/3/PostFile", "/99/Models/{model_id}"];

#[test]
fn routes_equal_the_contract() {
    let want = contract("endpoints");
    let all: Vec<(&str, String)> = want
        .as_array()
        .unwrap()
        .iter()
        .map(|w| (w["method"].as_str().unwrap(), w["url"].as_str().unwrap().to_string()))
        // The contract lists training once per algorithm: those that do not exist here are not served.
        .filter(|(_, u)| {
            let mut parts = u.split('/').skip(3);
            !u.contains("/ModelBuilders/")
                || parts.next().is_none_or(|a| a.starts_with('{') || ochre_algos::ALGORITHMS.iter().any(|b| b.info().name == a))
        })
        .collect();
    let routes = || ROUTES.iter().flat_map(|r| r.iter());
    let plain = |u: &str| u.split('/').map(|p| if p.starts_with('{') { "x" } else { p }).collect::<Vec<_>>().join("/");
    let exact =
        |r: &ochre_rest::Route, u: &str| r.url.split('/').count() == u.split('/').count() && ochre_rest::address_matches(r.url, &plain(u));
    let served = all.iter().filter(|(m, u)| routes().any(|r| r.method == *m && exact(r, u))).count();
    println!("{served} of {} routes are served", want.as_array().unwrap().len());
    let unknown: Vec<&str> =
        routes().filter(|r| !UNLISTED.contains(&r.url) && !all.iter().any(|(m, u)| r.method == *m && exact(r, u))).map(|r| r.url).collect();
    assert!(unknown.is_empty(), "routes that the contract does not have: {unknown:?}");
    assert!(served >= 68, "{served}");
}

#[test]
fn parameters_equal_the_contract() {
    for b in ochre_algos::ALGORITHMS {
        let want = contract(b.info().name);
        let offered: Vec<FieldDecl> = b.fields().into_iter().filter(|f| !f.internal).collect();
        let list = want["parameters"].as_array().unwrap();
        let mut bad = vec![];
        for w in list {
            let name = w["name"].as_str().unwrap();
            let Some(f) = offered.iter().find(|f| f.name == name) else {
                bad.push(format!("{name} is missing"));
                continue;
            };
            let number = |v: &Value| v.as_f64();
            let equal = f.default == w["default"] || (number(&f.default).is_some() && number(&f.default) == number(&w["default"]));
            if !equal {
                bad.push(format!("{name}: default {} where the contract has {}", f.default, w["default"]));
            }
            if f.level != w["level"] || f.type_name != w["type"] || f.gridable != w["gridable"].as_bool().unwrap_or(false) {
                bad.push(format!("{name}: {} {} {}", f.level, f.type_name, f.gridable));
            }
        }
        for f in &offered {
            if !list.iter().any(|w| w["name"] == f.name) {
                bad.push(format!("{} is not in the contract", f.name));
            }
        }
        println!("{}: {} parameters, {} of them supported", b.info().name, list.len(), offered.iter().filter(|f| f.supported).count());
        assert!(bad.is_empty(), "{}: {bad:?}", b.info().name);
    }
}
