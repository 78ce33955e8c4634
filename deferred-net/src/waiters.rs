//! Resolvers of Deferreds that wait.

use deferred_core::Resolver;

/// Adds a waiter. Before the memory grows, removes those that were cancelled: many may wait, one
/// after the other, for something that does not happen.
pub(super) fn push_waiter<T: 'static>(waiters: &mut Vec<Resolver<T>>, waiter: Resolver<T>) {
    if waiters.len() == waiters.capacity() {
        waiters.retain(|waiter| !waiter.is_cancelled());
    }
    waiters.push(waiter);
}

#[cfg(test)]
mod tests {
    use deferred_core::Deferred;

    use super::*;

    #[test]
    fn cancelled_waiters_use_no_more_memory() {
        let mut waiters = Vec::new();
        let (waits, waiter) = Deferred::<()>::new();
        push_waiter(&mut waiters, waiter);
        for _ in 0..10_000 {
            let (deferred, waiter) = Deferred::<()>::new();
            push_waiter(&mut waiters, waiter);
            deferred.cancel();
            drop(deferred);
        }
        assert!(waiters.capacity() < 20, "{}", waiters.capacity());
        waiters.into_iter().for_each(|waiter| waiter.callback(()));
        assert!(waits.is_ready());
    }
}
