//! The end of a connection.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::adapter::net::{ConnectionLost, Producer, Protocol, ProtocolFailed, Transport, connect_tcp};
use crate::adapter::{
    Deferred, Failure, Reactor, inline_callbacks, on_unhandled, over_unix, run_until, spawn, unblock,
};

use super::{LONG, Log, MS, client, listen, pattern, protocol, read_all};

/// Runs a server that calls `made` on its only connection, and a client on a thread. Returns the
/// server's log and the client's result.
pub(super) fn one<T: Send + 'static>(
    made: impl Fn(&Transport, &Reactor) + 'static,
    talk: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> (Vec<String>, T) {
    let log = Log::default();
    let noted = log.clone();
    let (sender, receiver) = mpsc::channel();
    run_until(|reactor| {
        let (ended, resolver) = Deferred::new();
        let resolver = Rc::new(std::cell::Cell::new(Some(resolver)));
        let (loops, made) = (reactor.clone(), Rc::new(made));
        let (_, address) = listen(reactor, move |_| {
            let (resolver, loops, made) = (resolver.take().unwrap(), loops.clone(), made.clone());
            protocol(
                &noted,
                move |transport| {
                    drop(transport.closed().map(move |_| resolver.callback(())));
                    made(transport, &loops);
                    Ok(())
                },
                |_, _| Ok(()),
            )
        });
        client(address, move |stream| sender.send(talk(stream)).unwrap());
        ended
    })
    .unwrap();
    (log.take(), receiver.recv_timeout(LONG).unwrap())
}

#[test]
fn lose_connection_sends_everything_first_however_slow_the_peer_reads() {
    const LENGTH: usize = 8_000_000;
    let (log, received) = one(
        |transport, _| {
            transport.write(pattern(LENGTH));
            transport.lose_connection();
            transport.lose_connection();
            assert!(transport.is_closing());
            assert_eq!(transport.unsent(), LENGTH);
        },
        |mut stream| {
            let mut all = Vec::new();
            let mut piece = vec![0; 700_000];
            loop {
                match stream.read(&mut piece).unwrap() {
                    0 => return all,
                    length => all.extend_from_slice(&piece[..length]),
                }
                thread::sleep(MS);
            }
        },
    );
    assert_eq!(log, ["made", "lost: the connection was closed"]);
    assert!(received == pattern(LENGTH));
}

#[test]
fn a_peer_whose_data_was_not_read_still_receives_the_last_bytes() {
    // Unread data from the peer would otherwise reset the connection, and the peer would lose the
    // data that it has not read yet.
    for _ in 0..20 {
        let (log, received) = one(
            |transport, reactor| {
                transport.pause_producing();
                let later = transport.clone();
                reactor.call_later(5 * MS, move || {
                    later.write(b"goodbye");
                    later.lose_connection();
                });
            },
            |mut stream| {
                stream.write_all(&[0; 100_000]).unwrap();
                thread::sleep(10 * MS);
                read_all(stream)
            },
        );
        assert_eq!(received, b"goodbye");
        assert_eq!(log, ["made", "lost: the connection was closed"]);
    }
}

#[test]
fn a_peer_that_does_not_close_its_side_has_two_seconds() {
    let (log, ended) = one(
        |transport, _| transport.lose_connection(),
        |mut stream| {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            let begun = std::time::Instant::now();
            // Keeps sending until the other side is closed.
            while stream.write_all(b"still here").is_ok() {
                thread::sleep(5 * MS);
            }
            begun.elapsed()
        },
    );
    assert_eq!(log, ["made", "lost: the connection was closed"]);
    assert!(ended >= 1500 * MS, "{ended:?}");
}

#[test]
fn a_peer_that_does_not_read_the_rest_is_aborted() {
    let (sender, receiver) = mpsc::channel();
    let (log, ()) = one(
        move |transport, _| {
            transport.set_close_timeout(30 * MS);
            transport.write(pattern(12_000_000));
            transport.lose_connection();
            let sender = sender.clone();
            drop(transport.closed().map(move |_| sender.send(()).unwrap()));
        },
        move |stream| {
            receiver.recv_timeout(LONG).unwrap();
            drop(stream);
        },
    );
    assert_eq!(log, ["made", "lost: the peer has not read the remaining data within 30ms, the close timeout"]);
}

#[cfg(unix)]
#[test]
fn a_peer_that_reads_a_little_now_and_then_gains_no_time() {
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let log = Log::default();
    run_until(|reactor| {
        let protocol = protocol(&log, |_| Ok(()), |_, _| Ok(()));
        let transport = over_unix(reactor, ours, protocol);
        transport.set_close_timeout(60 * MS);
        transport.write(vec![0; 4_000_000]);
        transport.lose_connection();
        let (over, reactor) = (transport.closed(), reactor.clone());
        inline_callbacks(async move {
            while !over.is_ready() {
                let _ = theirs.read(&mut [0; 10_000]);
                reactor.sleep(MS).await?;
            }
            over.await
        })
    })
    .unwrap();
    assert_eq!(log.take()[1], "lost: the peer has not read the remaining data within 60ms, the close timeout");
}

#[test]
fn abort_ends_the_connection_at_once_and_drops_the_rest() {
    let (log, received) = one(
        |transport, reactor| {
            let later = transport.clone();
            reactor.call_later(5 * MS, move || {
                later.write(pattern(12_000_000));
                later.abort_connection();
                later.abort_connection();
            });
        },
        |mut stream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            all.len()
        },
    );
    assert_eq!(log, ["made", "lost: the connection was aborted"]);
    assert!(received < 12_000_000);
}

#[test]
fn after_an_abort_inside_a_callback_only_connection_lost_follows() {
    let (log, _) = one(
        |transport, _| {
            transport.abort_connection();
            transport.lose_connection();
            transport.write(b"not sent");
        },
        read_all_or_reset,
    );
    assert_eq!(log, ["made", "lost: the connection was aborted"]);
}

fn read_all_or_reset(mut stream: std::net::TcpStream) -> usize {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all.len()
}

/// A producer that writes a chunk at each call.
struct Pieces {
    transport: Transport,
    left: std::cell::Cell<usize>,
}

impl Producer for Pieces {
    fn pause_producing(&self) {
        unreachable!("it is asked for each piece");
    }

    fn resume_producing(&self) {
        match self.left.get() {
            0 => self.transport.unregister_producer(),
            left => {
                self.left.set(left - 1);
                self.transport.write([left as u8; 1000]);
            }
        }
    }
}

#[test]
fn a_closing_connection_waits_for_its_producer() {
    let (log, received) = one(
        |transport, _| {
            transport.register_pull_producer(Pieces { transport: transport.clone(), left: 100.into() });
            transport.lose_connection();
        },
        read_all,
    );
    let expected: Vec<_> = (1..=100).rev().flat_map(|left| [left as u8; 1000]).collect();
    assert!(received == expected);
    assert_eq!(log, ["made", "lost: the connection was closed"]);
}

#[test]
fn a_peer_that_is_silent_for_too_long_is_disconnected() {
    let (log, ()) = one(
        |transport, _| transport.set_idle_timeout(Some(150 * MS)),
        |mut stream| {
            // Each of these restarts the timeout.
            for _ in 0..6 {
                stream.write_all(b"x").unwrap();
                thread::sleep(30 * MS);
            }
            let _ = stream.read(&mut [0]);
        },
    );
    assert_eq!(log.last().unwrap(), "lost: nothing has arrived for 150ms");
    let heard = log.iter().filter(|line| line.starts_with("data")).count();
    assert!(heard > 1, "{log:?}");
}

#[test]
fn a_peer_that_is_not_read_is_not_silent() {
    let (log, ()) = one(
        |transport, reactor| {
            transport.set_idle_timeout(Some(10 * MS));
            transport.pause_producing();
            let later = transport.clone();
            reactor.call_later(60 * MS, move || {
                later.set_idle_timeout(None);
                later.resume_producing();
                later.reactor().clone().call_later(30 * MS, move || later.lose_connection());
            });
        },
        |stream| drop(read_all(stream)),
    );
    assert_eq!(log, ["made", "lost: the connection was closed"]);
}

#[test]
fn a_closing_connection_is_not_idle_while_its_peer_reads() {
    const LENGTH: usize = 12_000_000;
    let (log, received) = one(
        |transport, _| {
            transport.set_idle_timeout(Some(10 * MS));
            transport.write(pattern(LENGTH));
            transport.lose_connection();
        },
        |stream| {
            thread::sleep(80 * MS);
            read_all(stream).len()
        },
    );
    assert_eq!(received, LENGTH);
    assert_eq!(log, ["made", "lost: the connection was closed"]);
}

#[test]
fn a_timeout_is_reset_by_the_protocol_and_not_by_received_bytes() {
    let (log, ()) = one(
        |transport, reactor| {
            transport.set_timeout(Some(60 * MS));
            let resets = transport.clone();
            reactor.call_later(30 * MS, move || resets.reset_timeout());
        },
        |mut stream| {
            let begun = std::time::Instant::now();
            while stream.write_all(b"x").is_ok() && begun.elapsed() < LONG {
                thread::sleep(5 * MS);
            }
            assert!(begun.elapsed() >= 90 * MS, "it was put off once");
        },
    );
    assert_eq!(log.last().unwrap(), "lost: the timeout of 60ms has elapsed");
    assert!(log.iter().filter(|line| line.starts_with("data")).count() > 1, "{log:?}");
}

#[test]
fn a_cancelled_timeout_and_one_of_a_closed_connection_do_nothing() {
    let (log, ()) = one(
        |transport, reactor| {
            transport.set_timeout(Some(10 * MS));
            transport.set_timeout(None);
            transport.reset_timeout();
            let later = transport.clone();
            reactor.call_later(40 * MS, move || {
                later.set_timeout(Some(60 * MS));
                later.lose_connection();
                later.reset_timeout();
            });
        },
        |stream| drop(read_all(stream)),
    );
    assert_eq!(log, ["made", "lost: the connection was closed"]);
}

#[test]
fn a_replaced_timeout_and_one_of_a_closed_connection_leave_no_timer() {
    let timers = Rc::new(RefCell::new(Vec::new()));
    let counts = timers.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| protocol(&Log::default(), |_| Ok(()), |_, _| Ok(())));
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        connect_tcp(reactor, address, LONG, quiet).add_callback(move |transport| {
            let reactor = transport.reactor().clone();
            let count = move || counts.borrow_mut().push(reactor.delayed_calls().len());
            count();
            for _ in 0..3 {
                transport.set_idle_timeout(Some(LONG));
                transport.set_timeout(Some(LONG));
            }
            count();
            transport.abort_connection();
            transport.closed().map(move |_| count())
        })
    })
    .unwrap();
    assert_eq!(timers.take(), [0, 2, 0]);
}

#[cfg(unix)]
#[test]
fn the_send_deadline_ends_when_everything_is_sent() {
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    let timers = run_until(|reactor| {
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        let transport = over_unix(reactor, ours, quiet);
        transport.write(pattern(1_000_000));
        transport.lose_connection();
        spawn(async move {
            unblock(move || theirs.read_to_end(&mut Vec::new()).map(|_| theirs)).await.map_err(Failure::from)
        })
        .add_callback(move |theirs| {
            let timers = transport.reactor().delayed_calls().len();
            drop(theirs);
            transport.closed().map(move |_| (timers, transport.reactor().delayed_calls().len()))
        })
    });
    assert_eq!(timers.unwrap(), (1, 0), "one for the peer to end its side, which it does");
}

#[test]
fn a_connection_closed_in_its_own_drained_callback_ends_though_the_peer_stays_open() {
    for aborts in [false, true] {
        let (held, holds) = mpsc::channel();
        let (log, ()) = one(
            move |transport, _| {
                transport.write(pattern(100_000));
                let ends = transport.clone();
                drop(transport.drained().map(move |()| {
                    ends.lose_connection();
                    if aborts {
                        let later = ends.clone();
                        ends.reactor().call_later(20 * MS, move || later.abort_connection());
                    }
                }));
            },
            move |mut stream| {
                let _ = stream.read_to_end(&mut Vec::new());
                held.send(stream).unwrap(); // keeps it open
            },
        );
        let expected = if aborts { "lost: the connection was aborted" } else { "lost: the connection was closed" };
        assert_eq!(log, ["made", expected]);
        drop(holds);
    }
}

#[test]
fn the_time_in_which_reading_is_paused_is_not_silence() {
    let (log, ()) = one(
        |transport, reactor| {
            transport.set_idle_timeout(Some(400 * MS));
            transport.pause_producing();
            let resumes = transport.clone();
            reactor.call_later(350 * MS, move || resumes.resume_producing());
        },
        |mut stream| {
            thread::sleep(550 * MS); // 200 ms of which count as silence
            let _ = stream.write_all(b"x");
            let _ = stream.read(&mut [0]);
        },
    );
    assert_eq!(log, ["made", "data x", "lost: nothing has arrived for 400ms"]);
}

/// An error with a cause.
#[derive(Debug)]
struct Caused(std::io::Error);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was caused")
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_cause_of_an_error_is_the_source_of_the_loss_and_in_the_report() {
    fn cause(error: &dyn Error) -> String {
        error.source().expect("it has a cause").to_string()
    }
    let caused = || Caused(std::io::Error::other("the cause"));
    assert_eq!(cause(&ConnectionLost::Io(Arc::new(std::io::Error::other(caused())))), "the cause");
    assert_eq!(cause(&ConnectionLost::Failed(Arc::new(caused().into()))), "the cause");
    assert!(ConnectionLost::Done.source().is_none());

    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        sink.borrow_mut().push(unhandled.downcast_ref::<ProtocolFailed>().map(|failed| cause(failed)));
    });
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| protocol(&Log::default(), |_| Ok(()), |_, _| Ok(())));
        let fails = protocol(&Log::default(), move |_| Err(caused().into()), |_, _| Ok(()));
        connect_tcp(reactor, address, LONG, fails)
    })
    .unwrap_err();
    assert_eq!(reports.take(), [Some("the cause".to_owned())]);
}

#[test]
fn data_sent_before_a_reset_is_received() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refuses = thread::spawn(move || {
        for stream in listener.incoming().take(5) {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0; 1000]).unwrap();
            stream.write_all(b"too much").unwrap();
            // Closing with unread data causes a reset.
        }
    });
    for _ in 0..5 {
        let log = Log::default();
        let protocol = protocol(
            &log,
            |transport| {
                transport.write(vec![0; 8_000_000]);
                Ok(())
            },
            |_, _| Ok(()),
        );
        run_until(|reactor| connect_tcp(reactor, address, LONG, protocol).add_callback(|transport| transport.closed()))
            .unwrap();
        let log = log.take();
        assert_eq!(log[1], "data too much", "{log:?}");
    }
    refuses.join().unwrap();
}

/// Logs the received bytes, and aborts at the first chunk.
#[cfg(unix)]
struct Aborts(Log);

#[cfg(unix)]
impl Protocol for Aborts {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"never read");
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.note(format!("{} bytes", data.len()));
        transport.abort_connection();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.0.note(format!("lost: {reason}"));
    }
}

#[cfg(unix)]
#[test]
fn no_callback_follows_an_abort_while_the_rest_is_read() {
    let log = Log::default();
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(&[0; 100_000]).unwrap(); // more than one read returns
    drop(theirs);
    run_until(|reactor| over_unix(reactor, ours, Aborts(log.clone())).closed()).unwrap();
    assert_eq!(log.take(), ["65536 bytes", "lost: the connection was aborted"]);
}

#[cfg(unix)]
#[test]
fn nothing_is_delivered_after_a_callback_has_failed_whatever_the_peer_sends() {
    struct Fails;
    impl Producer for Fails {
        fn pause_producing(&self) {}

        fn resume_producing(&self) {
            std::panic::resume_unwind(Box::new("no more")); // bypasses the panic hook, which would print
        }
    }
    let _hook = on_unhandled(|_| ());
    let log = Log::default();
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"more").unwrap();
    let protocol = protocol(
        &log,
        |transport| {
            transport.register_pull_producer(Fails);
            Ok(())
        },
        |_, _| Ok(()),
    );
    run_until(|reactor| over_unix(reactor, ours, protocol).closed()).unwrap();
    assert_eq!(log.take(), ["made", "lost: a callback has failed: panicked: no more"]);
}
