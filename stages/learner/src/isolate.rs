//! A thread of one's own for a job's parallel sections.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::OnceCell;

thread_local! {
    static POOL: OnceCell<Option<ThreadPool>> = const { OnceCell::new() };
}

/// Runs `f` inside a pool of one thread that belongs to the calling thread, so that jobs on different threads share
/// no worker: the process's global pool would interleave their parallel sections and slow both down.
///
/// The pool is built at the thread's first job. Where the system refuses another thread, `f` runs where it is: slower
/// beside others, with the same result.
pub fn job<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    POOL.with(
        |pool| match pool.get_or_init(|| ThreadPoolBuilder::new().num_threads(1).build().ok()) {
            Some(pool) => pool.install(f),
            None => f(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_thread_and_keeps_it() {
        let here = || job(|| (rayon::current_num_threads(), std::thread::current().id()));
        let (threads, id) = here();
        assert_eq!(threads, 1);
        assert_eq!(here().1, id);
        let elsewhere = std::thread::spawn(move || here().1).join().unwrap();
        assert_ne!(elsewhere, id);
    }
}
