//! Samples of a process taken by the process itself: one timer on the CPU clock of each thread, whose
//! signal copies the thread's registers and stack to memory. No permission is needed for that. What
//! the copies mean is found out later, by the engine (`copies.rs`).
//!
//! Every look that finds a thread running counts alike, whatever it did before: a look that counted
//! only once a period of CPU time had passed would see too little of what comes after a pause. How
//! many samples there should be is known by the thread's CPU clock, and the looks share them evenly.
//!
//! The kernel looks at timers on CPU clocks at its tick (every 1 to 10 ms), where the scheduler acts
//! too, so calls that wait for other threads fall into step with it. The calling thread, which is the
//! process's first one, therefore has a timer on the wall clock, which is kept to some microseconds,
//! and each of its looks is set anew, half a period to one and a half ahead at random: calls of any
//! length stay out of step with it. Other threads may be many, and would all be woken for nothing:
//! theirs is the tick.
//!
//! Everything between `handler` and the end of `take` runs inside a signal handler: system calls and
//! stores to memory that is there already, nothing else.

use core::ffi::{c_int, c_long, c_void};
use core::ptr::{addr_of_mut, null, null_mut};
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst,
};

#[repr(C)]
#[derive(Clone, Copy)]
struct Timespec {
    sec: i64,
    nsec: i64,
}

#[repr(C)]
struct Itimerspec {
    interval: Timespec,
    value: Timespec,
}

/// The kernel's `struct sigevent`, 64 bytes.
#[repr(C)]
struct Sigevent {
    value: usize,
    signo: c_int,
    notify: c_int,
    tid: c_int,
    rest: [c_int; 11],
}

/// The C library's `struct sigaction`: glibc's and musl's are the same.
#[repr(C)]
struct Sigaction {
    handler: usize,
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

/// The head of `siginfo_t`, as a timer fills it in.
#[repr(C)]
struct Siginfo {
    signo: c_int,
    errno: c_int,
    code: c_int,
    pad: c_int,
    timer: c_int,
    overrun: c_int,
    value: usize,
}

#[link(name = "c")]
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int;
    fn mmap(
        at: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, length: usize) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn __errno_location() -> *mut c_int;
    fn __libc_current_sigrtmin() -> c_int;
    fn __libc_current_sigrtmax() -> c_int;
    /// Ends the process.
    pub(crate) fn abort() -> !;
}

#[cfg(target_arch = "x86_64")]
mod arch {
    pub const OPENAT: i64 = 257;
    pub const READ: i64 = 0;
    pub const CLOSE: i64 = 3;
    pub const GETDENTS64: i64 = 217;
    pub const GETPID: i64 = 39;
    pub const TIMER_CREATE: i64 = 222;
    pub const TIMER_SETTIME: i64 = 223;
    pub const TIMER_DELETE: i64 = 226;
    /// Where in `ucontext_t` the registers are, in words: pc, sp, frame pointer, link register.
    pub const REGISTERS: [usize; 4] = [5 + 16, 5 + 15, 5 + 10, 5 + 16];
    /// Where a system call leaves its result, and the instruction that makes one.
    pub const RESULT: usize = 5 + 13;
    pub const CALL: [u8; 2] = [0x0f, 0x05];
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub const OPENAT: i64 = 56;
    pub const READ: i64 = 63;
    pub const CLOSE: i64 = 57;
    pub const GETDENTS64: i64 = 61;
    pub const GETPID: i64 = 172;
    pub const TIMER_CREATE: i64 = 107;
    pub const TIMER_SETTIME: i64 = 110;
    pub const TIMER_DELETE: i64 = 111;
    /// `uc_mcontext` is at byte 176: the fault's address, x0 to x30, sp, pc.
    pub const REGISTERS: [usize; 4] = [23 + 32, 23 + 31, 23 + 29, 23 + 30];
    /// Where a system call leaves its result, and the instruction that makes one.
    pub const RESULT: usize = 23;
    pub const CALL: [u8; 4] = [0x01, 0x00, 0x00, 0xd4];
}

const SIGPROF: c_int = 27;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SA_SIGINFO: c_int = 4;
/// On the alternate stack of a thread that has one: Go's threads allow nothing else.
const SA_ONSTACK: c_int = 0x0800_0000;
const SA_RESTART: c_int = 0x1000_0000;
const SI_TIMER: c_int = -2;
const SIGEV_THREAD_ID: c_int = 4;
const CLOCK_MONOTONIC: c_int = 1;
const TIMER_ABSTIME: c_int = 1;
const EINTR: isize = 4;
const AT_FDCWD: c_int = -100;
const O_CLOEXEC: c_int = 0o2_000_000;

/// Threads that can have a timer at a time.
const THREADS: usize = 1024;
const MARK: usize = 0x7066 << 32; // of our own timers' signals

/// A sample's head; the stack's bytes from `sp` on follow it.
#[repr(C)]
struct Head {
    /// Of the monotonic clock.
    time_ns: u64,
    tid: u32,
    /// Other samples that it stands for.
    overrun: u32,
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
    length: u64,
}
const HEAD: usize = size_of::<Head>();

struct Slot {
    /// Zero: free.
    tid: AtomicI32,
    timer: AtomicI32,
    /// Of the thread's CPU time in all windows, when its first sample is due; one more is due
    /// after each period.
    first_ns: AtomicU64,
    /// CPU time in the windows that have ended.
    used_ns: AtomicU64,
    /// The thread's clock where the window began.
    begin_ns: AtomicU64,
    /// Looks that found it running.
    came: AtomicU64,
    /// Samples so far.
    given: AtomicU64,
    /// Of a sample, in parts of `WHOLE`, what the looks so far have not used.
    rest: AtomicU64,
    /// The round of `enable` that saw the thread last.
    seen: AtomicU32,
    /// The mapping that its stack was found in last.
    stack: [AtomicUsize; 2],
}

impl Slot {
    const fn free() -> Self {
        Self {
            tid: AtomicI32::new(0),
            timer: AtomicI32::new(0),
            first_ns: AtomicU64::new(0),
            used_ns: AtomicU64::new(0),
            begin_ns: AtomicU64::new(0),
            came: AtomicU64::new(0),
            given: AtomicU64::new(0),
            rest: AtomicU64::new(0),
            seen: AtomicU32::new(0),
            stack: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }
}

static SLOTS: [Slot; THREADS] = [const { Slot::free() }; THREADS];
static ROUND: AtomicU32 = AtomicU32::new(0);
static CHANCE: AtomicU64 = AtomicU64::new(0);
static PERIOD_NS: AtomicU64 = AtomicU64::new(0);
static STACK_BYTES: AtomicUsize = AtomicUsize::new(0);
static STACK_END: AtomicUsize = AtomicUsize::new(0);
/// A sample, in the parts that looks have of it.
const WHOLE: u64 = 1 << 16;
/// Looks before the two counts say more than that they should be equal.
const FIRST_LOOKS: u64 = 8;
/// In how many looks a sample that is missing is made up for: the more, the less it matters where.
const CATCHING_UP: i64 = 32;
/// Shorter than a tick: each tick that finds a thread running is a look.
const TICK_NS: u64 = 900_000;

/// The process's first thread, and when its next look is due.
static CALLING: AtomicI32 = AtomicI32::new(0);
static DUE_NS: AtomicU64 = AtomicU64::new(0);
/// How late its signals come while it runs: a tenth of them come sooner. And how many have told.
static PROMPT_NS: AtomicU64 = AtomicU64::new(20_000);
static TOLD: AtomicU64 = AtomicU64::new(0);
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static ENABLED: AtomicBool = AtomicBool::new(false);
/// Handlers that are running.
static ACTIVE: AtomicI32 = AtomicI32::new(0);
static BUFFER: AtomicUsize = AtomicUsize::new(0);
static CAPACITY: AtomicUsize = AtomicUsize::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
/// Threads that got no timer.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// The text of a file of `/proc`, while one thread reads it.
static READING: AtomicBool = AtomicBool::new(false);
static mut TEXT: [u8; 16_384] = [0; 16_384];

/// Prepares sampling; nothing is sampled before `enable`.
///
/// `stack_bytes` is the most that is copied of a stack, and `stack_end` where the main thread's
/// frames end, zero if that is not known. Returns zero, or what refuses: -1 for a sampler that runs
/// already, -2 for want of memory, -3 for want of a signal that nothing else handles, -4 where the
/// system has no timers on the CPU clock of a thread.
#[unsafe(no_mangle)]
pub extern "C" fn perfkit_sampler_start(
    period_ns: u64,
    buffer_bytes: usize,
    stack_bytes: usize,
    stack_end: usize,
) -> c_int {
    if BUFFER.load(SeqCst) != 0 {
        return -1;
    }
    // Readable and writable; private, anonymous, not reserved: only touched pages count.
    let buffer = unsafe { mmap(null_mut(), buffer_bytes, 3, 0x4022, -1, 0) };
    if buffer as isize == -1 {
        return -2;
    }
    let Some(signal) = install() else {
        unsafe { munmap(buffer, buffer_bytes) };
        return -3;
    };
    SIGNAL.store(signal, SeqCst);
    CALLING.store(unsafe { syscall(arch::GETPID) } as c_int, SeqCst);
    PERIOD_NS.store(period_ns.max(1), SeqCst);
    STACK_BYTES.store(stack_bytes, SeqCst);
    STACK_END.store(stack_end, SeqCst);
    CAPACITY.store(buffer_bytes, SeqCst);
    USED.store(0, SeqCst);
    LOST.store(0, SeqCst);
    REFUSED.store(0, SeqCst);
    CHANCE.store(clock_ns(CLOCK_MONOTONIC) | 1, SeqCst);
    BUFFER.store(buffer as usize, SeqCst);
    find_threads();
    if SLOTS.iter().all(|slot| slot.tid.load(SeqCst) == 0) {
        perfkit_sampler_stop();
        perfkit_sampler_release();
        return -4;
    }
    0
}

/// Gives every thread that there is now a timer, and starts them all.
#[unsafe(no_mangle)]
pub extern "C" fn perfkit_sampler_enable() {
    if BUFFER.load(SeqCst) == 0 {
        return;
    }
    find_threads();
    ENABLED.store(true, SeqCst);
    for slot in taken() {
        slot.begin_ns
            .store(clock_ns(cpu_clock(slot.tid.load(SeqCst))), SeqCst);
        if is_calling(slot) {
            look_at(
                slot,
                clock_ns(CLOCK_MONOTONIC) + 1 + chance() % PERIOD_NS.load(SeqCst),
            );
            continue;
        }
        let _ = set_timer(slot, TICK_NS, TICK_NS);
    }
}

/// Stops all timers; what they used of their CPU time is kept.
#[unsafe(no_mangle)]
pub extern "C" fn perfkit_sampler_disable() {
    for slot in taken() {
        let now = clock_ns(cpu_clock(slot.tid.load(SeqCst)));
        let _ = set_timer(slot, 0, 0);
        if ENABLED.load(SeqCst) {
            let window = now.saturating_sub(slot.begin_ns.load(SeqCst));
            slot.used_ns.fetch_add(window, SeqCst);
        }
    }
    ENABLED.store(false, SeqCst);
}

/// How many samples of a thread are due after so much CPU time.
fn due(slot: &Slot, used_ns: u64) -> u64 {
    let after = used_ns.checked_sub(slot.first_ns.load(SeqCst));
    after.map_or(0, |after| after / PERIOD_NS.load(SeqCst) + 1)
}

/// Removes timers and signal handler. The samples stay until `release`.
#[unsafe(no_mangle)]
pub extern "C" fn perfkit_sampler_stop() {
    perfkit_sampler_disable();
    for slot in taken() {
        unsafe { syscall(arch::TIMER_DELETE, slot.timer.load(SeqCst)) };
        slot.tid.store(0, SeqCst);
    }
    let signal = SIGNAL.swap(0, SeqCst);
    if signal != 0 {
        // Ignoring a signal discards those that are pending: by default they would end the process.
        for handler in [SIG_IGN, SIG_DFL] {
            let action = action(handler, 0);
            unsafe { sigaction(signal, &raw const action, null_mut()) };
        }
    }
    while ACTIVE.load(SeqCst) > 0 {
        core::hint::spin_loop();
    }
}

/// The samples so far, with their size in bytes.
///
/// # Safety
/// `length` points to a place for the size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn perfkit_sampler_samples(length: *mut usize) -> *const c_void {
    unsafe { *length = USED.load(SeqCst) };
    BUFFER.load(SeqCst) as *const c_void
}

/// Samples for which there was no room, and threads that got no timer.
///
/// # Safety
/// `refused` points to a place for the threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn perfkit_sampler_lost(refused: *mut u64) -> u64 {
    unsafe { *refused = REFUSED.load(SeqCst) };
    LOST.load(SeqCst)
}

/// Gives the samples' memory back, after `stop`.
#[unsafe(no_mangle)]
pub extern "C" fn perfkit_sampler_release() {
    let buffer = BUFFER.swap(0, SeqCst);
    if buffer != 0 {
        unsafe { munmap(buffer as *mut c_void, CAPACITY.load(SeqCst)) };
    }
}

// -- threads and their timers ---------------------------------------------------------------------

fn taken() -> impl Iterator<Item = &'static Slot> {
    SLOTS.iter().filter(|slot| slot.tid.load(SeqCst) != 0)
}

/// A timer for each thread that has none yet; those of threads that are gone are deleted.
fn find_threads() {
    let round = ROUND.fetch_add(1, SeqCst) + 1;
    each_thread(&mut |tid| {
        let known = taken().find(|slot| slot.tid.load(SeqCst) == tid);
        // A number may be another thread's by now: its timer then says that the thread is gone.
        if let Some(slot) = known.filter(|slot| set_timer(slot, 0, 0)) {
            slot.seen.store(round, SeqCst);
            return;
        }
        if let Some(slot) = known {
            forget(slot);
        }
        match new_timer(tid) {
            Some(slot) => slot.seen.store(round, SeqCst),
            None => {
                REFUSED.fetch_add(1, SeqCst);
            }
        }
    });
    taken()
        .filter(|slot| slot.seen.load(SeqCst) != round)
        .for_each(forget);
}

fn forget(slot: &Slot) {
    unsafe { syscall(arch::TIMER_DELETE, slot.timer.load(SeqCst)) };
    slot.tid.store(0, SeqCst);
}

fn new_timer(tid: c_int) -> Option<&'static Slot> {
    let (index, slot) = SLOTS
        .iter()
        .enumerate()
        .find(|(_, slot)| slot.tid.load(SeqCst) == 0)?;
    let event = Sigevent {
        value: MARK | index,
        signo: SIGNAL.load(SeqCst),
        notify: SIGEV_THREAD_ID,
        tid,
        rest: [0; 11],
    };
    let mut timer: c_int = 0;
    let clock = match tid == CALLING.load(SeqCst) {
        true => CLOCK_MONOTONIC,
        false => cpu_clock(tid),
    };
    let code = unsafe { syscall(arch::TIMER_CREATE, clock, &raw const event, &raw mut timer) };
    if code != 0 {
        return None;
    }
    slot.timer.store(timer, SeqCst);
    slot.first_ns
        .store(1 + chance() % PERIOD_NS.load(SeqCst), SeqCst);
    slot.used_ns.store(0, SeqCst);
    slot.came.store(0, SeqCst);
    slot.given.store(0, SeqCst);
    slot.rest.store(0, SeqCst);
    slot.stack[0].store(0, SeqCst);
    slot.stack[1].store(0, SeqCst);
    slot.tid.store(tid, SeqCst);
    Some(slot)
}

/// Sets the time of the calling thread's next look.
fn look_at(slot: &Slot, due_ns: u64) {
    DUE_NS.store(due_ns, SeqCst);
    let _ = set_timer_at(slot, due_ns, 0, TIMER_ABSTIME);
}

/// Whether the timer could be set: its thread is still there.
fn set_timer(slot: &Slot, value_ns: u64, interval_ns: u64) -> bool {
    set_timer_at(slot, value_ns, interval_ns, 0)
}

fn set_timer_at(slot: &Slot, value_ns: u64, interval_ns: u64, flags: c_int) -> bool {
    let time = |ns: u64| Timespec {
        sec: (ns / 1_000_000_000) as i64,
        nsec: (ns % 1_000_000_000) as i64,
    };
    let new = Itimerspec {
        interval: time(interval_ns),
        value: time(value_ns),
    };
    let none = null_mut::<Itimerspec>();
    let timer = slot.timer.load(SeqCst);
    unsafe { syscall(arch::TIMER_SETTIME, timer, flags, &raw const new, none) == 0 }
}

/// Marsaglia's xorshift: where in its period a thread's timer begins, and when it is looked at next.
fn chance() -> u64 {
    let mut x = CHANCE.load(SeqCst);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    CHANCE.store(x, SeqCst);
    x
}

/// The time that a thread spent on a CPU: what `pthread_getcpuclockid` gives for it.
fn cpu_clock(tid: c_int) -> c_int {
    (!tid << 3) | 6
}

fn is_calling(slot: &Slot) -> bool {
    slot.tid.load(SeqCst) == CALLING.load(SeqCst)
}

/// A clock's time; zero for one of a thread that is gone.
fn clock_ns(clock: c_int) -> u64 {
    let mut now = Timespec { sec: 0, nsec: 0 };
    unsafe { clock_gettime(clock, &raw mut now) };
    now.sec as u64 * 1_000_000_000 + now.nsec as u64
}

/// Calls `look` with every thread of this process: the names in `/proc/self/task`.
fn each_thread(look: &mut dyn FnMut(c_int)) {
    with_text(c"/proc/self/task", arch::GETDENTS64, &mut |entries| {
        let mut at = 0;
        // Inode and offset, eight bytes each; the entry's length, two; its kind, one; its name.
        while at + 19 < entries.len() {
            let length = usize::from(u16::from_ne_bytes([entries[at + 16], entries[at + 17]]));
            let name = entries.get(at + 19..at + length).unwrap_or(&[]);
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
            let tid = digits.fold(0, |tid, digit| tid * 10 + c_int::from(digit - b'0'));
            if tid > 0 {
                look(tid);
            }
            at += length.max(1);
        }
        entries.len()
    });
}

/// Reads a file of `/proc` part by part; `look` says how much of a part it used, and what it did not
/// is before the next one. False if another thread reads, or the file cannot be read.
fn with_text(path: &core::ffi::CStr, how: i64, look: &mut dyn FnMut(&[u8]) -> usize) -> bool {
    if READING.swap(true, SeqCst) {
        return false;
    }
    let file = unsafe { syscall(arch::OPENAT, AT_FDCWD, path.as_ptr(), O_CLOEXEC) };
    let mut kept = 0;
    loop {
        // SAFETY: `READING` lets one thread in at a time.
        let text = unsafe { &mut *addr_of_mut!(TEXT) };
        let room = &mut text[kept..];
        // Of a file that could not be opened nothing is read either.
        let got = unsafe { syscall(how, file as c_int, room.as_mut_ptr(), room.len()) };
        let Ok(got @ 1..) = usize::try_from(got) else {
            break;
        };
        let used = look(&text[..kept + got]).min(kept + got);
        text.copy_within(used..kept + got, 0);
        kept = kept + got - used;
        if kept == text.len() {
            break; // a line longer than any path
        }
    }
    if file >= 0 {
        unsafe { syscall(arch::CLOSE, file as c_int) };
    }
    READING.store(false, SeqCst);
    file >= 0
}

// -- the signal -----------------------------------------------------------------------------------

fn action(handler: usize, flags: c_int) -> Sigaction {
    Sigaction {
        handler,
        mask: [0; 16],
        flags,
        restorer: 0,
    }
}

/// Handles SIGPROF, or a real-time signal if the program handles that itself.
fn install() -> Option<c_int> {
    let (first, last) = unsafe { (__libc_current_sigrtmin(), __libc_current_sigrtmax()) };
    core::iter::once(SIGPROF)
        .chain((first + 4..=last).rev())
        .find(|signal| {
            let mut old = action(SIG_DFL, 0);
            let free =
                unsafe { sigaction(*signal, null(), &raw mut old) } == 0 && old.handler == SIG_DFL;
            let flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
            let ours = action(handler as *const () as usize, flags);
            free && unsafe { sigaction(*signal, &raw const ours, null_mut()) } == 0
        })
}

extern "C" fn handler(_: c_int, info: *const Siginfo, context: *const usize) {
    unsafe {
        let errno = *__errno_location();
        ACTIVE.fetch_add(1, SeqCst);
        // Another program may send this signal too: only our timers have the mark.
        let info = &*info;
        if info.code == SI_TIMER && info.value & !0xffff == MARK && ENABLED.load(SeqCst) {
            take(info, context);
        }
        ACTIVE.fetch_sub(1, SeqCst);
        *__errno_location() = errno;
    }
}

/// # Safety
/// Called in a signal handler, with what the kernel handed to it.
unsafe fn take(info: &Siginfo, context: *const usize) {
    let slot = &SLOTS[(info.value & 0xffff) % THREADS];
    let [pc, sp, fp, lr] = arch::REGISTERS.map(|at| unsafe { *context.add(at) });
    let now = clock_ns(CLOCK_MONOTONIC);
    if is_calling(slot) {
        let (due, period) = (DUE_NS.load(SeqCst), PERIOD_NS.load(SeqCst));
        let late = now.saturating_sub(due);
        // From when it was due, so that the mean is the period; after a sleep from now.
        let from = if late < period / 2 { due } else { now };
        look_at(slot, from + period / 2 + chance() % period);
        let result = unsafe { *context.add(arch::RESULT) } as isize;
        if unsafe { was_asleep(pc, result) } || !is_prompt(late) {
            return;
        }
    }
    let in_window =
        clock_ns(cpu_clock(slot.tid.load(SeqCst))).saturating_sub(slot.begin_ns.load(SeqCst));
    let due = due(slot, slot.used_ns.load(SeqCst) + in_window);
    let came = slot.came.fetch_add(1, SeqCst) + 1;
    let behind = due as i64 - slot.given.load(SeqCst) as i64;
    let even = (due + FIRST_LOOKS) * WHOLE / (came + FIRST_LOOKS);
    let share = (even as i64 + behind * WHOLE as i64 / CATCHING_UP).max(0) as u64;
    let parts = slot.rest.load(SeqCst) + share;
    slot.rest.store(parts % WHOLE, SeqCst);
    let samples = parts / WHOLE;
    slot.given.fetch_add(samples, SeqCst);
    if samples == 0 {
        return;
    }
    let length = readable(slot, sp).min(STACK_BYTES.load(SeqCst)) & !7;
    let Some(at) = reserve(HEAD + length) else {
        LOST.fetch_add(samples, SeqCst);
        return;
    };
    let head = Head {
        time_ns: now,
        tid: slot.tid.load(SeqCst) as u32,
        overrun: u32::try_from(samples - 1).unwrap_or(u32::MAX),
        pc: pc as u64,
        sp: sp as u64,
        fp: fp as u64,
        lr: lr as u64,
        length: length as u64,
    };
    unsafe {
        at.cast::<Head>().write(head);
        core::ptr::copy_nonoverlapping(sp as *const u8, at.add(HEAD), length);
    }
}

/// Whether a signal came as soon as those of a running thread do. One that was just waking, or waited
/// for a core, has it later; the limit follows what the system shows, in large steps at first: a
/// recording may have no more than a hundred looks, and those that are refused are made up for by
/// others, which then count twice.
fn is_prompt(late_ns: u64) -> bool {
    let known = PROMPT_NS.load(SeqCst);
    let step = known / (10 + TOLD.fetch_add(1, SeqCst)).min(160) + 1;
    let next = match late_ns < known {
        true => known - (9 * step).min(known / 3),
        false => known + step,
    };
    PROMPT_NS.store(next.max(1_000), SeqCst);
    late_ns <= known + known / 2
}

/// Whether the signal ended a system call's sleep: the kernel makes the call again, or says that it
/// was interrupted. A call that was running is finished first.
///
/// # Safety
/// `pc` is where a thread goes on.
unsafe fn was_asleep(pc: usize, result: isize) -> bool {
    let is_call = |at: usize| unsafe { *(at as *const [u8; arch::CALL.len()]) } == arch::CALL;
    is_call(pc) || (result == -EINTR && is_call(pc - arch::CALL.len()))
}

fn reserve(bytes: usize) -> Option<*mut u8> {
    let capacity = CAPACITY.load(SeqCst);
    let room = |used: usize| used.checked_add(bytes).filter(|end| *end <= capacity);
    let at = USED.fetch_update(SeqCst, SeqCst, room).ok()?;
    Some((BUFFER.load(SeqCst) + at) as *mut u8)
}

/// How many bytes from the stack pointer on may be read: up to the end of its mapping, or of its page
/// if that is not known.
fn readable(slot: &Slot, sp: usize) -> usize {
    let [begin, end] = [&slot.stack[0], &slot.stack[1]];
    if !(begin.load(SeqCst)..end.load(SeqCst)).contains(&sp) {
        let Some((first, last)) = mapping_of(sp) else {
            return 4096 - sp % 4096;
        };
        // Beyond the main thread's first frame are its arguments and environment: not our business.
        let known = STACK_END.load(SeqCst);
        let last = if (sp..last).contains(&known) {
            known
        } else {
            last
        };
        begin.store(first, SeqCst);
        end.store(last, SeqCst);
    }
    end.load(SeqCst) - sp
}

/// The readable mapping that an address is in, by `/proc/self/maps`; `None` if another thread reads
/// it just now.
fn mapping_of(address: usize) -> Option<(usize, usize)> {
    let mut found = None;
    with_text(c"/proc/self/maps", arch::READ, &mut |text| {
        let mut used = 0;
        while let Some(length) = text[used..].iter().position(|byte| *byte == b'\n') {
            let line = &text[used..used + length];
            if let Some((first, last)) = span(line)
                && (first..last).contains(&address)
            {
                found = Some((first, last));
            }
            used += length + 1;
        }
        used
    });
    found
}

/// The addresses of a line of `/proc/self/maps`, if they may be read:
///
/// ```text
/// 7ffd1c0e5000-7ffd1c106000 rw-p 00000000 00:00 0                          [stack]
/// ```
fn span(line: &[u8]) -> Option<(usize, usize)> {
    let (first, rest) = hexadecimal(line)?;
    let (last, rest) = hexadecimal(rest.strip_prefix(b"-")?)?;
    rest.starts_with(b" r").then_some((first, last))
}

fn hexadecimal(text: &[u8]) -> Option<(usize, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let count = digits.count();
    let value = text[..count].iter().fold(0, |value: usize, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        value.wrapping_mul(16).wrapping_add(usize::from(digit))
    });
    (count > 0).then_some((value, &text[count..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_mappings_are_told_by_their_lines() {
        let stack = b"7ffd1c0e5000-7ffd1c106000 rw-p 00000000 00:00 0    [stack]";
        assert_eq!(span(stack), Some((0x7ffd_1c0e_5000, 0x7ffd_1c10_6000)));
        for line in [
            &b"7f0000000000-7f0000001000 ---p 00000000 00:00 0"[..],
            b"7f0000000000 r--p",
            b"-7f0000001000 r--p",
            b"",
        ] {
            assert_eq!(span(line), None);
        }
    }

    #[test]
    fn a_thread_that_computes_is_sampled_with_its_stack_and_its_bounds_hold() {
        // The one test that starts it: there is one sampler per process.
        assert_eq!(perfkit_sampler_start(5_000_000, 1 << 22, 4096, 0), 0);
        assert_eq!(perfkit_sampler_start(5_000_000, 1 << 22, 4096, 0), -1);
        perfkit_sampler_enable();
        let begin = std::time::Instant::now();
        let mut sum = 0.0_f64;
        while begin.elapsed().as_millis() < 500 {
            sum += std::hint::black_box(sum).sqrt() + 1.0;
        }
        perfkit_sampler_disable();
        let (mut bytes, mut refused) = (0, 0);
        let samples = unsafe { perfkit_sampler_samples(&raw mut bytes) };
        let (mut at, mut own) = (0, 0);
        let tid = unsafe { syscall(GETTID) } as u32;
        while at < bytes {
            let head = unsafe { &*samples.byte_add(at).cast::<Head>() };
            assert!(head.length <= 4096 && head.length % 8 == 0);
            own += usize::from(head.tid == tid) * (1 + head.overrun as usize);
            at += HEAD + head.length as usize;
        }
        assert_eq!(at, bytes);
        assert!(own > 0, "half a second of work has a hundred periods");
        assert_eq!(unsafe { perfkit_sampler_lost(&raw mut refused) }, 0);
        perfkit_sampler_stop();
        perfkit_sampler_release();
    }

    #[cfg(target_arch = "x86_64")]
    const GETTID: i64 = 186;
    #[cfg(target_arch = "aarch64")]
    const GETTID: i64 = 178;
}
