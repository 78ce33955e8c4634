//! `Transport::send_file`: sends what a file contains.

use std::future::{IntoFuture, poll_fn};
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use deferred_core::{Deferred, Failure};

use super::channel::Channel;
use super::producer::Registered;
use super::{Producer, Transport};

/// The number of bytes that are written at a time.
const PIECE: usize = 32 * 1024;

impl Transport {
    /// Sends everything that `file` contains. The returned Deferred fires with the number of bytes
    /// when all is written, and at most the [high-water mark](Self::set_high_water) of it buffered.
    /// The connection stays open. The file is the [producer](Self::register_producer) of the
    /// connection meanwhile, so a [`lose_connection`](Self::lose_connection) waits for all of it.
    ///
    /// A file that is sent while another one is follows that one.
    ///
    /// A thread reads, at most 64 KiB ahead, so a slow disk does not block the loop, and a slow
    /// peer costs no memory. Other writes at the same time are mixed with the file's.
    ///
    /// Twisted's `FileSender.beginFileTransfer`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the file, with that of the system if it cannot
    /// create a thread, with [`ConnectionLost`](super::ConnectionLost) if the connection ends, with
    /// an error of the kind [`NotConnected`](io::ErrorKind::NotConnected) if this side of it has
    /// ended before, or with one of the kind [`ResourceBusy`](io::ErrorKind::ResourceBusy) if a
    /// producer is registered.
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
            let turns = transport.state.cold().files.get_or_insert_default().clone();
            let _turn = turns.acquire().await?;
            if transport.state.registered().is_some() {
                return Err(busy().into());
            }
            let channel = Arc::new(Channel::default());
            let closes = CloseOnDrop(channel.clone());
            let reads = move || channel.read_from(&mut file);
            thread::Builder::new().name("deferred-file".into()).spawn(reads)?;
            // Until the end, `lose_connection` waits for the rest.
            transport.register_producer(Sends);
            let _registered = UnregisterOnDrop(&transport, transport.state.registered());
            let mut lost = transport.closed().into_future();
            let (mut sent, mut piece) = (0, vec![0; PIECE]);
            loop {
                transport.drained().await?;
                let length = poll_fn(|context| {
                    if let Poll::Ready(lost) = Pin::new(&mut lost).poll(context) {
                        return Poll::Ready(Err(lost.map_or_else(|failure| failure, Failure::from)));
                    }
                    closes.0.poll_read(context, &mut piece).map_err(Failure::from)
                });
                let length = length.await?;
                if length == 0 {
                    return Ok(sent);
                }
                if !transport.state.can_write() {
                    return Err(
                        io::Error::new(io::ErrorKind::NotConnected, "nothing more is sent on the connection").into()
                    );
                }
                transport.write(&piece[..length]);
                sent += length as u64;
            }
        })
    }
}

/// The producer of a file. It is paused by the wait for `drained`.
struct Sends;

impl Producer for Sends {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {}
}

fn busy() -> io::Error {
    let text = "a producer is registered, which the file would replace: unregister it first";
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

/// Removes the producer of a file, unless it was replaced.
struct UnregisterOnDrop<'a>(&'a Transport, Option<Rc<Registered>>);

impl Drop for UnregisterOnDrop<'_> {
    fn drop(&mut self) {
        let present = self.0.state.registered();
        if present.as_ref().zip(self.1.as_ref()).is_some_and(|(present, ours)| Rc::ptr_eq(present, ours)) {
            self.0.unregister_producer();
        }
    }
}

struct CloseOnDrop(Arc<Channel>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
