//! What a script may import: `math`, and what the client's generated code asks for.

use rustpython_vm::builtins::{PyDictRef, PyStrRef};
use rustpython_vm::function::{ArgIntoFloat, FuncArgs};
use rustpython_vm::{AsObject, PyObjectRef, PyResult, VirtualMachine};

/// Names of the JVM that scripts written for the reference use, on top of `math`.
const NAMES: &str = "
class CMetricFunc(object):
    pass
class CDistributionFunc(object):
    pass
class Math(object):
    E = math.e
    PI = math.pi
    abs = staticmethod(abs)
    min = staticmethod(min)
    max = staticmethod(max)
    round = staticmethod(lambda x: math.floor(x + 0.5))
    signum = staticmethod(lambda x: (x > 0) - (x < 0) + 0.0)
    exp = staticmethod(math.java_exp)
    log = staticmethod(math.java_log)
    log10 = staticmethod(math.java_log10)
    log1p = staticmethod(math.java_log1p)
    expm1 = staticmethod(math.java_expm1)
    sqrt = staticmethod(math.java_sqrt)
    pow = staticmethod(math.java_pow)
    floor = staticmethod(math.java_floor)
    ceil = staticmethod(math.java_ceil)
    sin = staticmethod(math.sin)
    cos = staticmethod(math.cos)
    tan = staticmethod(math.tan)
    atan = staticmethod(math.atan)
    tanh = staticmethod(math.tanh)
";

/// A function as Python has it: numbers outside its domain raise an error.
fn checked(name: &'static str, f: fn(f64) -> f64) -> impl Fn(ArgIntoFloat, &VirtualMachine) -> PyResult<f64> {
    move |x: ArgIntoFloat, vm: &VirtualMachine| {
        let x = x.into_float();
        let y = f(x);
        if x.is_finite() && y.is_nan() || x == 0.0 && y.is_infinite() {
            return Err(vm.new_value_error(format!("math domain error: {name}({x})")));
        }
        if x.is_finite() && y.is_infinite() {
            return Err(vm.new_overflow_error(format!("math range error: {name}({x})")));
        }
        Ok(y)
    }
}

/// A function as Java has it: infinities and NaN are answers.
fn plain(f: fn(f64) -> f64) -> impl Fn(ArgIntoFloat, &VirtualMachine) -> PyResult<f64> {
    move |x: ArgIntoFloat, _: &VirtualMachine| Ok(f(x.into_float()))
}

fn math(vm: &VirtualMachine) -> PyResult<PyObjectRef> {
    let dict = vm.ctx.new_dict();
    let set = |name: &'static str, value: PyObjectRef| dict.set_item(name, value, vm);
    for (name, value) in [
        ("e", std::f64::consts::E),
        ("pi", std::f64::consts::PI),
        ("inf", f64::INFINITY),
        ("nan", f64::NAN),
        ("tau", std::f64::consts::TAU),
    ] {
        set(name, vm.ctx.new_float(value).into())?;
    }
    let functions: [(&'static str, fn(f64) -> f64); 21] = [
        ("exp", f64::exp),
        ("log10", f64::log10),
        ("log2", f64::log2),
        ("log1p", f64::ln_1p),
        ("expm1", f64::exp_m1),
        ("sqrt", f64::sqrt),
        ("fabs", f64::abs),
        ("sin", f64::sin),
        ("cos", f64::cos),
        ("tan", f64::tan),
        ("asin", f64::asin),
        ("acos", f64::acos),
        ("atan", f64::atan),
        ("sinh", f64::sinh),
        ("cosh", f64::cosh),
        ("tanh", f64::tanh),
        ("asinh", f64::asinh),
        ("acosh", f64::acosh),
        ("atanh", f64::atanh),
        ("degrees", f64::to_degrees),
        ("radians", f64::to_radians),
    ];
    for (name, f) in functions {
        set(name, vm.new_function(name, checked(name, f)).into())?;
    }
    let java: [(&'static str, fn(f64) -> f64); 8] = [
        ("java_exp", f64::exp),
        ("java_log", f64::ln),
        ("java_log10", f64::log10),
        ("java_log1p", f64::ln_1p),
        ("java_expm1", f64::exp_m1),
        ("java_sqrt", f64::sqrt),
        ("java_floor", f64::floor),
        ("java_ceil", f64::ceil),
    ];
    for (name, f) in java {
        set(name, vm.new_function(name, plain(f)).into())?;
    }
    let log = |x: ArgIntoFloat, base: rustpython_vm::function::OptionalArg<ArgIntoFloat>, vm: &VirtualMachine| -> PyResult<f64> {
        let top = checked("log", f64::ln)(x, vm)?;
        match base.into_option() {
            None => Ok(top),
            Some(b) => Ok(top / checked("log", f64::ln)(b, vm)?),
        }
    };
    set("log", vm.new_function("log", log).into())?;
    let pow = |x: ArgIntoFloat, y: ArgIntoFloat, vm: &VirtualMachine| -> PyResult<f64> {
        let (x, y) = (x.into_float(), y.into_float());
        let z = x.powf(y);
        if x.is_finite() && y.is_finite() && !z.is_finite() {
            return Err(vm.new_value_error(format!("math domain error: pow({x}, {y})")));
        }
        Ok(z)
    };
    set("pow", vm.new_function("pow", pow).into())?;
    let plain_pow = |x: ArgIntoFloat, y: ArgIntoFloat, _: &VirtualMachine| -> PyResult<f64> { Ok(x.into_float().powf(y.into_float())) };
    set("java_pow", vm.new_function("java_pow", plain_pow).into())?;
    for (name, f) in [("isnan", f64::is_nan as fn(f64) -> bool), ("isinf", f64::is_infinite), ("isfinite", f64::is_finite)] {
        let test = move |x: ArgIntoFloat, _: &VirtualMachine| -> PyResult<bool> { Ok(f(x.into_float())) };
        set(name, vm.new_function(name, test).into())?;
    }
    for (name, f) in [("floor", f64::floor as fn(f64) -> f64), ("ceil", f64::ceil), ("trunc", f64::trunc)] {
        let whole = move |x: ArgIntoFloat, vm: &VirtualMachine| -> PyResult<i64> {
            let v = f(x.into_float());
            match v.abs() < 9e18 {
                true => Ok(v as i64),
                false => Err(vm.new_overflow_error(format!("cannot convert {v} to a whole number"))),
            }
        };
        set(name, vm.new_function(name, whole).into())?;
    }
    Ok(vm.new_module("math", dict, None).into())
}

/// Makes the modules, and leaves a script nothing else to import, and no way to files.
pub fn install(vm: &VirtualMachine) -> PyResult<()> {
    let math = math(vm)?;
    let scope = vm.new_scope_with_builtins();
    scope.globals.set_item("math", math.clone(), vm)?;
    vm.run_string(scope.clone(), NAMES, "prelude".into())?;
    let module = |name: &str, members: &[(&str, PyObjectRef)]| -> PyResult<PyObjectRef> {
        let dict: PyDictRef = vm.ctx.new_dict();
        for (n, v) in members {
            dict.set_item(*n, v.clone(), vm)?;
        }
        Ok(vm.new_module(name, dict, None).into())
    };
    let names = |n: &'static str| scope.globals.get_item(n, vm);
    let lang = module("java.lang", &[("Math", names("Math")?)])?;
    let java = module("java", &[("lang", lang)])?;
    let udf = module("water.udf", &[("CMetricFunc", names("CMetricFunc")?), ("CDistributionFunc", names("CDistributionFunc")?)])?;
    let water = module("water", &[("udf", udf)])?;
    let top = [("math", math), ("java", java), ("water", water)];
    let import = move |name: PyStrRef, rest: FuncArgs, vm: &VirtualMachine| -> PyResult {
        let path = name.to_string();
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let missing = || {
            let text = format!("custom functions may import math, java.lang.Math and water.udf; there is no '{path}' here");
            vm.new_import_error(text, name.clone())
        };
        let root = top.iter().find(|t| t.0 == first).map(|t| t.1.clone()).ok_or_else(missing)?;
        let mut last = root.clone();
        for part in parts {
            last = last.get_attr(&vm.ctx.new_str(part), vm).map_err(|_| missing())?;
        }
        // `from x import y` gets the module itself, `import x.y` the outermost one.
        let listed = rest.args.get(2).is_some_and(|l| !vm.is_none(l) && l.clone().try_to_bool(vm).unwrap_or(false));
        Ok(if listed { last } else { root })
    };
    let builtins = vm.builtins.as_object();
    builtins.set_attr("__import__", vm.new_function("__import__", import), vm)?;
    for name in ["open", "input", "breakpoint", "eval", "exec", "compile", "print"] {
        let _ = builtins.del_attr(&vm.ctx.new_str(name), vm);
    }
    let print = |_: FuncArgs, _: &VirtualMachine| {};
    builtins.set_attr("print", vm.new_function("print", print), vm)
}
