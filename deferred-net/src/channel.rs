//! `Channel`: bytes between a thread that may block and the loop.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// The number of bytes that a thread reads ahead, or that wait for it to write.
const LIMIT: usize = 64 * 1024;
/// The delay before another attempt, if a file does not block.
const RETRY_DELAY: Duration = Duration::from_millis(10);

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

impl State {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.bytes.is_empty() {
            return self.bytes.read(buffer);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None if self.ended => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state on the side of the thread, and wakes the loop.
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
            wait_if_non_blocking(&read);
            let goes_on = self.change(|state| {
                match read {
                    Ok(0) => state.ended = true,
                    Ok(length) => state.bytes.extend(&buffer[..length]),
                    Err(error) if is_temporary(&error) => {}
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
            let written = write_all(output, first).and_then(|()| write_all(output, second));
            let written = written.and_then(|()| output.flush());
            self.change(|state| state.failed = written.err());
            if self.lock().failed.is_some() {
                return;
            }
        }
    }

    /// Reads what the thread has read.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let read = match state.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            read => read,
        };
        drop(state);
        self.changed.notify_all(); // there may be room again
        Poll::Ready(read)
    }

    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.lock().read(buffer);
        self.changed.notify_all(); // there may be room again
        read
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

/// Returns `true` if another attempt may succeed.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// Waits a moment after an operation on a file that does not block, such as a terminal that another
/// program has changed.
fn wait_if_non_blocking<T>(result: &io::Result<T>) {
    if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        thread::sleep(RETRY_DELAY);
    }
}

fn write_all(output: &mut impl Write, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = output.write(data);
        wait_if_non_blocking(&written);
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => data = &data[length..],
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    fn a_task_that_waits_is_woken_only_by_the_thread() {
        struct Counts(std::sync::atomic::AtomicU32);
        impl Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let counts = Arc::new(Counts(0.into()));
        let woken = || counts.0.load(std::sync::atomic::Ordering::SeqCst);
        let waker = Waker::from(counts.clone());
        let context = &mut Context::from_waker(&waker);
        let channel = Channel::default();
        for _ in 0..5 {
            assert!(channel.poll_read(context, &mut [0; 8]).is_pending());
            assert!(channel.read_now(&mut [0; 8]).is_err());
        }
        assert_eq!(woken(), 0, "a task that wakes itself would never sleep");
        channel.read_from(&mut &b"data"[..]);
        assert_eq!(woken(), 1);
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
