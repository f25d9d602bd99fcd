//! Where bytes come from: local files, directories, globs, uploads; plain, gzip, zip, zstd or bzip2.

use memmap2::Mmap;
use ochre_core::{Error, Ledger, Reservation, Result, Stored};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was imported or uploaded and not parsed yet.
pub struct RawFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// An upload belongs to the server and goes when its key goes.
    pub owned: bool,
}

impl Stored for RawFile {
    const TYPE: &'static str = "Frame";
}

impl Drop for RawFile {
    fn drop(&mut self) {
        if self.owned {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl RawFile {
    pub fn open(path: &Path) -> Result<RawFile> {
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::FileNotFound { path: path.display().to_string() },
            _ => Error::io(path.display(), e),
        })?;
        std::fs::File::open(path).map_err(|e| Error::io(path.display(), e))?;
        Ok(RawFile { path: path.to_path_buf(), bytes: meta.len(), owned: false })
    }

    /// A file that was made for the server, with which it goes. What failed leaves nothing.
    pub fn made(path: &Path, made: Result<()>) -> Result<RawFile> {
        match made.and_then(|()| RawFile::open(path)) {
            Ok(mut raw) => {
                raw.owned = true;
                Ok(raw)
            }
            Err(e) => {
                let _ = std::fs::remove_file(path);
                Err(e)
            }
        }
    }
}

/// The key of an imported file. The reference's keys lose the leading slash.
pub fn key_of(path: &Path) -> String {
    format!("nfs:/{}", path.display())
}

/// Files that a path names: itself, the files below a directory, or what a glob matches. `pattern` is a regular
/// expression that the whole file name has to match.
pub fn list(path: &str, pattern: Option<&str>) -> Result<Vec<PathBuf>> {
    let plain = path.strip_prefix("file://").or_else(|| path.strip_prefix("nfs:/")).unwrap_or(path);
    if let Some((scheme, _)) = plain.split_once("://") {
        return Err(Error::Unsupported(format!(
            "cannot read {path}: sources of the kind {scheme}:// are not supported by this version of ochre"
        )));
    }
    let root = Path::new(plain);
    let mut files = vec![];
    if root.is_dir() {
        walk(root, &mut files)?;
    } else if root.exists() {
        files.push(root.to_path_buf());
    } else if plain.contains(['*', '?', '[']) {
        let found = glob::glob(plain).map_err(|e| Error::invalid(format!("'{path}' is not a valid pattern of file names: {e}")))?;
        files.extend(found.flatten().filter(|p| p.is_file()));
    }
    if let Some(pattern) = pattern.filter(|p| !p.is_empty()) {
        let re = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|e| Error::invalid(format!("pattern '{pattern}': {e}")))?;
        files.retain(|f| re.is_match(&f.display().to_string()) || f.file_name().is_some_and(|n| re.is_match(&n.to_string_lossy())));
    }
    if files.is_empty() {
        return Err(Error::FileNotFound { path: path.to_string() });
    }
    files.sort();
    Ok(files)
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir.display(), e))? {
        let path = entry.map_err(|e| Error::io(dir.display(), e))?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() { walk(&path, out)? } else { out.push(path) }
    }
    Ok(())
}

/// The bytes of a file, unpacked.
pub enum Bytes {
    Mapped(Mmap),
    Unpacked(Vec<u8>, Vec<Reservation>),
    Empty,
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(m) => m,
            Bytes::Unpacked(v, _) => v,
            Bytes::Empty => &[],
        }
    }
}

impl Bytes {
    /// Adds another file of the same archive. Its first line goes when it is the header again: the first line of all, none of
    /// whose fields is a number.
    fn append(&mut self, more: Bytes) {
        let Bytes::Unpacked(all, held) = self else {
            *self = more;
            return;
        };
        let Bytes::Unpacked(new, new_held) = more else { return };
        let first_line = |b: &[u8]| b[..memchr::memchr(b'\n', b).map_or(b.len(), |i| i + 1)].to_vec();
        let line = first_line(&new);
        let is_header =
            line == first_line(all) && !line.split(|b| b",;|\t \x01".contains(b)).any(|f| crate::csv::number(f.trim_ascii()).is_some());
        if all.last().is_some_and(|b| *b != b'\n') {
            all.push(b'\n');
        }
        all.extend_from_slice(&new[if is_header { line.len() } else { 0 }..]);
        held.extend(new_held);
    }
}

const UNPACK_STEP: usize = 4 << 20;
/// Text does not shrink a thousandfold; what does is made to fill memory.
const EXPANSION_MAX: u64 = 1100;

/// Maps a file, or unpacks it into reserved memory when it is compressed. `limit` stops early, for previews.
pub fn bytes(path: &Path, ledger: &Arc<Ledger>, limit: Option<usize>) -> Result<Bytes> {
    let fail = |e: &dyn std::fmt::Display| Error::io(path.display(), e);
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let len = file.metadata().map_err(|e| fail(&e))?.len();
    if len == 0 {
        return Ok(Bytes::Empty);
    }
    // SAFETY: the map is read only. A file truncated by somebody else while it is parsed would fault; the same holds
    // for every mapped reader, and the alternative is to copy every file before reading it.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| fail(&e))?;
    if map.starts_with(&[0x1f, 0x8b]) {
        let reader = flate2::read::MultiGzDecoder::new(&map[..]);
        return unpack(path, reader, len, ledger, limit);
    }
    if map.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let reader = zstd::stream::read::Decoder::new(&map[..]).map_err(|e| fail(&e))?;
        return unpack(path, reader, len, ledger, limit);
    }
    // The magic of the file, and of its first block.
    if map.starts_with(b"BZh") && map.get(4..10) == Some(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59]) {
        return unpack(path, bzip2::read::MultiBzDecoder::new(&map[..]), len, ledger, limit);
    }
    if map.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        return crate::sheet::as_csv(path, &map, ledger);
    }
    if map.starts_with(b"PK\x03\x04") {
        if crate::sheet::is_workbook(&map) {
            return crate::sheet::as_csv(path, &map, ledger);
        }
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&map[..])).map_err(|e| fail(&e))?;
        let files: Vec<usize> =
            (0..archive.len()).filter(|&i| archive.by_index(i).is_ok_and(|f| f.is_file() && !f.name().starts_with("__MACOSX"))).collect();
        let Some((first, others)) = files.split_first() else { return Err(fail(&"the archive holds no file")) };
        let mut all = unpack(path, archive.by_index(*first).map_err(|e| fail(&e))?, len, ledger, limit)?;
        for i in others {
            if limit.is_some_and(|l| all.len() >= l) {
                break;
            }
            let more = unpack(path, archive.by_index(*i).map_err(|e| fail(&e))?, len, ledger, limit)?;
            all.append(more);
        }
        return Ok(all);
    }
    with_line_feeds(path, map, ledger)
}

/// Where a file's end of lines is looked for.
const LINE_WINDOW: usize = 1 << 16;

/// Do lines end with a carriage return alone, as on old Macintoshes?
fn ends_with_returns(bytes: &[u8]) -> bool {
    let window = &bytes[..bytes.len().min(LINE_WINDOW)];
    memchr::memchr(b'\r', window).is_some() && memchr::memchr2(b'\n', 0, window).is_none()
}

fn with_line_feeds(path: &Path, map: Mmap, ledger: &Arc<Ledger>) -> Result<Bytes> {
    if !ends_with_returns(&map) {
        return Ok(Bytes::Mapped(map));
    }
    let held = ledger.reserve(&format!("line ends of {}", path.display()), map.len() as u64)?;
    let mut out = map.to_vec();
    feed_lines(&mut out);
    Ok(Bytes::Unpacked(out, vec![held]))
}

fn feed_lines(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'\n');
}

fn unpack(path: &Path, mut reader: impl Read, packed: u64, ledger: &Arc<Ledger>, limit: Option<usize>) -> Result<Bytes> {
    let (mut out, mut held) = (Vec::new(), vec![]);
    loop {
        held.push(ledger.reserve(&format!("unpacking {}", path.display()), UNPACK_STEP as u64)?);
        let before = out.len();
        let read = (&mut reader).take(UNPACK_STEP as u64).read_to_end(&mut out);
        read.map_err(|e| Error::io(path.display(), format!("the compressed file is damaged or cut short: {e}")))?;
        if out.len() == before || limit.is_some_and(|l| out.len() >= l) {
            if ends_with_returns(&out) {
                feed_lines(&mut out);
            }
            return Ok(Bytes::Unpacked(out, held));
        }
        if out.len() as u64 > packed.max(1 << 16) * EXPANSION_MAX {
            return Err(Error::invalid(format!(
                "{} grows more than {EXPANSION_MAX}-fold when unpacked, which data files do not; it is refused",
                path.display()
            )));
        }
    }
}
