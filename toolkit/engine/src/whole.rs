//! Files are written whole and renamed into place, so that a reader never sees half of one.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Lets `fill` write a file beside `path`, then renames it to `path`.
///
/// # Errors
/// What `fill` returns, or a file that cannot be written; in both cases `path` is as it was before.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::in_file(path, "not the name of a file"))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(
        ".{}-{}.part",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    ));
    let partial = path.with_file_name(partial);
    let write = || {
        let file = File::create(&partial).map_err(Error::write(path))?;
        let mut writer = BufWriter::with_capacity(1 << 17, file);
        fill(&mut writer)?;
        writer.flush().map_err(Error::write(path))?;
        fs::rename(&partial, path).map_err(Error::write(path))
    };
    write().inspect_err(|_| {
        // This error is the one worth telling; a leftover that cannot be removed is not.
        let _ = fs::remove_file(&partial);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_leftover() {
        let folder = std::env::temp_dir().join(format!("perfkit-whole-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let path = folder.join("out.txt");
        fs::write(&path, "old").expect("a first version");
        let refused = write_whole(&path, |writer| {
            writer.write_all(b"half").map_err(Error::write(&path))?;
            Err(Error::input("changed my mind"))
        });
        assert_eq!(refused.expect_err("refused").to_string(), "changed my mind");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "old");
        assert_eq!(fs::read_dir(&folder).expect("listable").count(), 1);
        fs::remove_dir_all(&folder).expect("removable");
    }
}
