//! How much memory there is, and sizes as people write them.

/// Share of the machine's memory that frames and models may take when the user does not say.
const DEFAULT_SHARE: f64 = 0.8;

/// `4g`, `512m`, `1000000`, `2.5GB` in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let t = text.trim().to_ascii_lowercase();
    let digits = t.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match t[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 1u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        u => return Err(format!("'{text}' has the unknown unit '{u}'; use k, m, g or t")),
    };
    let v: f64 = digits.parse().map_err(|_| format!("'{text}' is not a size such as 4g or 512m"))?;
    if v <= 0.0 {
        return Err(format!("'{text}' must be more than nothing"));
    }
    Ok((v * unit as f64) as u64)
}

/// Memory of this machine or control group, whichever is less.
pub fn available() -> u64 {
    let ram = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|t| t.lines().find(|l| l.starts_with("MemTotal:"))?.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(1 << 32, |k| k * 1024);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|p| std::fs::read_to_string(p).ok()?.trim().parse::<u64>().ok());
    group.map_or(ram, |g| g.min(ram))
}

/// The budget for a `--max-mem` flag.
pub fn budget(flag: Option<&str>) -> Result<u64, String> {
    let all = available();
    let Some(text) = flag else { return Ok((all as f64 * DEFAULT_SHARE) as u64) };
    let asked = parse_size(text).map_err(|e| format!("--max-mem {e}"))?;
    if asked > all {
        return Err(format!("--max-mem {text} is {asked} bytes, but this machine (or control group) has {all}; give less"));
    }
    Ok(asked)
}

/// `mi_option_purge_delay` of mimalloc 2: milliseconds that freed pages are kept in case somebody asks again.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Makes the allocator give freed memory back to the system at once. It would look at what it keeps only when the same
/// thread asks for more: after a burst of jobs a process kept twice its budget, and a control group counts what is kept.
pub fn return_what_is_freed() {
    // SAFETY: it stores a number; no other thread exists yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4g"), Ok(4 << 30));
        assert_eq!(parse_size("2.5GB"), Ok(5 << 29));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("4x").is_err() && parse_size("g").is_err());
        assert!(budget(Some("4000t")).unwrap_err().contains("this machine"));
    }
}
