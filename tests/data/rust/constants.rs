// const CHUNK: usize = 0;
/* const CHUNK: usize = 0;
   static CHUNK: usize = 0; */
pub const CHUNK: usize = L1_CACHE_SIZE / 8 / 4; // const CHUNK: usize = 5;
/// `const L1_CACHE_SIZE: usize = 1;`
const L1_CACHE_SIZE: usize = 32 * 1024;
static TEXT: &str = "const CHUNK: usize = 1;";
const RAW: &str = r#"static CHUNK: usize = 2;"#;
pub(crate) const BLOCK: usize = {
	let a = 3; // const CHUNK: usize = 4;
	a * 2
};
const _: () = assert!(CHUNK > 0);

#[cfg(target_feature = "avx2")]
const WIDE: usize = 8;
#[cfg(not(target_feature = "avx2"))]
const WIDE: usize = 4;

mod small {
    pub const CHUNK: usize = 64;
    mod inner {
        // é 日本
        const CHUNK: usize = 32_usize;
    }
}
impl<T> Table<'_, T> {
    const ROWS: [u8; 4] = [0; 4];
}
trait Limit {
    const NO_VALUE: u8;
    const MOST: u8 = 9;
}
fn run() -> i64 {
    const LOCAL: i64 = -1;
    LOCAL
}
static mut MUTABLE: usize = 1 ;
cfg_if::cfg_if! {
    if #[cfg(unix)] { pub const IN_MACRO: usize = 1; const fn f() {} }
}
