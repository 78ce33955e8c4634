//! `standard_io`: a protocol on the standard input and output.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use deferred_core::Reactor;

use super::channel::Channel;
use super::socket::Socket;
use super::{Protocol, Transport};

/// Runs a protocol on the standard input and output of this process: what arrives on the input is
/// its data, and what it writes goes to the output. `protocol.connection_made` is called inside
/// this call.
///
/// Two threads read and write, so that a terminal or file does not block the loop. Data that the
/// thread has read ahead when the connection ends is lost, so nothing else should read the input.
/// The output has no [close timeout](Transport::set_close_timeout) unless one is set: a reader such
/// as a pager may take its time. The other methods of the transport work as on a socket; those for
/// addresses and options fail with [`Unsupported`](io::ErrorKind::Unsupported).
///
/// Twisted's `StandardIO`.
///
/// # Errors
///
/// Returns the error of the system if it cannot create the threads.
///
/// # Examples
///
/// ```no_run
/// use deferred_mio::net::{on_line, standard_io};
/// use deferred_mio::run_until;
///
/// run_until(|reactor| {
///     let shout = on_line(|transport, line| transport.send_line(line.to_ascii_uppercase()));
///     standard_io(reactor, shout).unwrap().closed()
/// })?;
/// # Ok::<(), deferred_mio::Failure>(())
/// ```
#[doc(alias = "StandardIO")]
#[doc(alias = "StandardIOEndpoint")]
#[doc(alias = "stdin")]
#[track_caller]
pub fn standard_io<P: Protocol>(reactor: &Reactor, protocol: P) -> io::Result<Transport> {
    let (input, output) = (Arc::new(Channel::default()), Arc::new(Channel::default()));
    // Dropped on an error, it ends the threads.
    let socket = StdioSocket { input: input.clone(), output: output.clone() };
    thread::Builder::new().name("deferred-stdin".into()).spawn(move || input.read_from(&mut io::stdin()))?;
    thread::Builder::new().name("deferred-stdout".into()).spawn(move || output.write_to(&mut io::stdout()))?;
    Ok(Transport::over_socket(reactor, socket, protocol))
}

struct StdioSocket {
    input: Arc<Channel>,
    output: Arc<Channel>,
}

impl Socket for StdioSocket {
    const LINGERS: bool = false;

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.input.poll_read(context, buffer)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read_now(buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.output.poll_write(context, data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_finish(context)
    }
}

impl Drop for StdioSocket {
    fn drop(&mut self) {
        self.input.close();
        self.output.close();
    }
}
