//! `ProcessProtocol`: the callbacks of a child process.

use std::process::ExitStatus;

use deferred_core::Failure;

use super::ProcessTransport;

/// The callbacks of one child process. All of them run on the loop's thread, one after the other.
///
/// [`process_started`](Self::process_started) is called first, once;
/// [`process_ended`](Self::process_ended) last, once, in every case.
///
/// A callback that fails or panics kills the process. Its error is reported as unhandled, after
/// `process_ended`.
///
/// Twisted's `ProcessProtocol`.
pub trait ProcessProtocol: 'static {
    /// Called when the process was started.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "connectionMade")]
    fn process_started(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        let _ = process;
        Ok(())
    }

    /// Called for data of the standard output. By default it is ignored.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "outReceived")]
    fn out_received(&mut self, process: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        let _ = (process, data);
        Ok(())
    }

    /// Called for data of the standard error output. By default it is ignored.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "errReceived")]
    fn err_received(&mut self, process: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        let _ = (process, data);
        Ok(())
    }

    /// Called when the standard output has ended.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "outConnectionLost")]
    fn out_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        let _ = process;
        Ok(())
    }

    /// Called when the standard error output has ended.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "errConnectionLost")]
    fn err_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        let _ = process;
        Ok(())
    }

    /// Called when the standard input was closed, by [`close_stdin`](ProcessTransport::close_stdin)
    /// after all data was written, or by the process, which is noticed at the next write or at its
    /// end. Data that was not written is lost then.
    ///
    /// # Errors
    ///
    /// An error kills the process.
    #[doc(alias = "inConnectionLost")]
    fn in_connection_lost(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        let _ = process;
        Ok(())
    }

    /// Called when the process has exited. Data may still arrive: it was written before, or another
    /// process has inherited the outputs.
    ///
    /// # Errors
    ///
    /// An error closes the pipes.
    #[doc(alias = "processExited")]
    fn process_exited(&mut self, process: &ProcessTransport, status: ExitStatus) -> Result<(), Failure> {
        let _ = (process, status);
        Ok(())
    }

    /// Called when the process has exited and both outputs have ended. `None` if the reactor was
    /// closed before.
    #[doc(alias = "processEnded")]
    #[doc(alias = "ProcessDone")]
    #[doc(alias = "ProcessTerminated")]
    fn process_ended(&mut self, status: Option<ExitStatus>) {
        let _ = status;
    }
}
