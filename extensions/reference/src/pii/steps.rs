//! Counts the characters and groups that detectors look at, so that a test can tell that they are
//! linear without a clock. Outside of tests this is nothing.

#[cfg(test)]
thread_local! {
    static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(super) fn step(count: usize) {
    COUNT.with(|steps| steps.set(steps.get() + count));
}

#[cfg(not(test))]
pub(super) fn step(_: usize) {}

/// The steps that some work takes.
#[cfg(test)]
pub(super) fn steps_of(work: impl FnOnce()) -> usize {
    COUNT.with(|steps| steps.set(0));
    work();
    COUNT.with(std::cell::Cell::get)
}
