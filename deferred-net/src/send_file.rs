//! `Transport::send_file`: sends what a file contains.

use std::future::poll_fn;
use std::io::Read;
use std::sync::Arc;
use std::thread;

use deferred_core::{Deferred, Failure};

use super::Transport;
use super::channel::Channel;

/// The number of bytes that are written at a time.
const PIECE: usize = 32 * 1024;

impl Transport {
    /// Sends everything that `file` contains. The returned Deferred fires with the number of bytes
    /// when all is written, and at most the [high-water mark](Self::set_high_water) of it buffered.
    /// The connection stays open.
    ///
    /// A thread reads, at most 64 KiB ahead, so a slow disk does not block the loop, and a slow peer
    /// costs no memory. Other writes at the same time are mixed with the file's.
    ///
    /// Twisted's `FileSender.beginFileTransfer`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the file, with that of the system if it cannot
    /// create a thread, or with [`ConnectionLost`](super::ConnectionLost) if the connection ends.
    ///
    /// # Cancellation
    ///
    /// A cancel ends the sending after what was written.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use deferred_mio::net::{listen_tcp, on_line};
    /// use deferred_mio::run;
    ///
    /// run(|reactor| {
    ///     listen_tcp(reactor, "127.0.0.1:8000", |_| on_line(|transport, line| {
    ///         let page = File::open(format!("pages/{}", String::from_utf8_lossy(line).replace('/', "_")))?;
    ///         let closes = transport.clone();
    ///         transport.send_file(page).add_finally(move || closes.lose_connection());
    ///         Ok(())
    ///     }))
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "FileSender")]
    #[doc(alias = "beginFileTransfer")]
    #[track_caller]
    pub fn send_file(&self, mut file: impl Read + Send + 'static) -> Deferred<u64> {
        let transport = self.clone();
        self.reactor().ensure_deferred(async move {
            let channel = Arc::new(Channel::default());
            let closes = CloseOnDrop(channel.clone());
            let reads = move || channel.read_from(&mut file);
            thread::Builder::new().name("deferred-file".into()).spawn(reads)?;
            let (mut sent, mut piece) = (0, vec![0; PIECE]);
            loop {
                transport.drained().await?;
                let length = poll_fn(|context| closes.0.poll_read(context, &mut piece)).await?;
                if length == 0 {
                    return Ok::<_, Failure>(sent);
                }
                transport.write(&piece[..length]);
                sent += length as u64;
            }
        })
    }
}

struct CloseOnDrop(Arc<Channel>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
