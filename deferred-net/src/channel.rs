//! `Channel`: bytes between a thread that may block and the loop.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

/// The number of bytes that a thread reads ahead, or that wait for it to write.
const LIMIT: usize = 64 * 1024;

/// Bytes on their way between a thread and the loop.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Whether no more bytes follow.
    ended: bool,
    failed: Option<io::Error>,
    /// Whether the thread has done everything.
    done: bool,
    /// Whether the loop needs the channel no more.
    closed: bool,
    waker: Option<Waker>,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the other side.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.changed.wait_while(self.lock(), |state| condition(state));
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that reads.
    pub(super) fn read_from(&self, input: &mut impl Read) {
        let _fails = FailOnPanic(self);
        let mut buffer = [0; 8 * 1024];
        while !self.wait_while(|state| state.bytes.len() >= LIMIT && !state.closed).closed {
            let read = input.read(&mut buffer);
            let goes_on = self.change(|state| {
                match read {
                    Ok(0) => state.ended = true,
                    Ok(length) => state.bytes.extend(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => state.failed = Some(error),
                }
                !state.ended && state.failed.is_none()
            });
            if !goes_on {
                return;
            }
        }
    }

    /// The thread that writes.
    pub(super) fn write_to(&self, output: &mut impl Write) {
        let _fails = FailOnPanic(self);
        loop {
            let mut state = self.wait_while(|state| state.bytes.is_empty() && !state.ended && !state.closed);
            let bytes = std::mem::take(&mut state.bytes);
            if bytes.is_empty() {
                drop(state);
                return self.change(|state| state.done = true);
            }
            drop(state);
            let (first, second) = bytes.as_slices();
            let written = output.write_all(first).and_then(|()| output.write_all(second)).and_then(|()| output.flush());
            self.change(|state| state.failed = written.err());
            if self.lock().failed.is_some() {
                return;
            }
        }
    }

    /// Reads what the thread has read.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.read_now(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut state = self.lock();
                // Again, since the thread may have read meanwhile.
                if state.bytes.is_empty() && !state.ended && state.failed.is_none() {
                    state.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                drop(state);
                Poll::Ready(self.read_now(buffer))
            }
            read => Poll::Ready(read),
        }
    }

    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.change(|state| {
            if state.bytes.is_empty() {
                return match state.failed.take() {
                    Some(error) => Err(error),
                    None if state.ended => Ok(0),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                };
            }
            state.bytes.read(buffer)
        })
    }

    /// Lets the thread write `data`.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if let Some(error) = state.failed.take() {
            return Poll::Ready(Err(error));
        }
        if state.bytes.len() >= LIMIT {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend(data);
        drop(state);
        self.changed.notify_all();
        Poll::Ready(Ok(data.len()))
    }

    /// Waits until the thread has written everything.
    pub(super) fn poll_finish(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if let Some(error) = state.failed.take() {
            return Poll::Ready(Err(error));
        }
        state.ended = true;
        if state.done {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(context.waker().clone());
        drop(state);
        self.changed.notify_all();
        Poll::Pending
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Reports a panic of the thread, which the loop would otherwise wait for forever.
struct FailOnPanic<'a>(&'a Channel);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.failed = Some(io::Error::other("the file has panicked")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct NoWake;
    impl Wake for NoWake {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn all_data_passes_through_a_channel_that_is_smaller() {
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (input, output) = (Arc::new(Channel::default()), Arc::new(Channel::default()));
        let (from, to) = (input.clone(), output.clone());
        let expected = sent.clone();
        let reads = thread::spawn(move || from.read_from(&mut &sent[..]));
        let writes = thread::spawn(move || {
            let mut all = Vec::new();
            to.write_to(&mut all);
            all
        });
        let waker = Waker::from(Arc::new(NoWake));
        let mut context = Context::from_waker(&waker);
        let mut buffer = [0; 10_000];
        loop {
            let Poll::Ready(read) = input.poll_read(&mut context, &mut buffer) else { continue };
            let length = read.unwrap();
            if length == 0 {
                break;
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                if let Poll::Ready(written) = output.poll_write(&mut context, rest) {
                    rest = &rest[written.unwrap()..];
                }
            }
        }
        while output.poll_finish(&mut context).is_pending() {}
        reads.join().unwrap();
        assert!(writes.join().unwrap() == expected);
    }

    #[test]
    fn an_error_of_the_output_is_that_of_the_next_write() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let output = Arc::new(Channel::default());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(output.poll_write(context, b"x").is_ready());
        let writes = output.clone();
        thread::spawn(move || writes.write_to(&mut Broken)).join().unwrap();
        let Poll::Ready(Err(error)) = output.poll_write(context, b"y") else { panic!("it has failed") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn close_ends_the_threads() {
        let (input, output) = (Arc::new(Channel::default()), Arc::new(Channel::default()));
        let (from, to) = (input.clone(), output.clone());
        let writes = thread::spawn(move || to.write_to(&mut Vec::new()));
        // An endless input fills the channel.
        let reads = thread::spawn(move || from.read_from(&mut io::repeat(1)));
        input.close();
        output.close();
        writes.join().unwrap();
        reads.join().unwrap();
    }
}
