//! The callbacks of a protocol and their order.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crate::adapter::net::{ConnectionLost, Protocol, ProtocolFailed, Transport, connect_tcp};
use crate::adapter::{Failure, Panicked, on_unhandled, over_tcp, over_unix, run, run_until, unblock, without_driver};

use super::{Echo, LONG, Log, MS, client, listen, pattern, protocol, read_all};

#[test]
fn made_first_then_data_then_lost_once() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let protocol = protocol(
            &noted,
            |transport| {
                transport.write(b"one");
                Ok(())
            },
            |transport, data| {
                if data == b"one" {
                    transport.write(b"two");
                } else {
                    transport.lose_connection();
                }
                Ok(())
            },
        );
        connect_tcp(reactor, address, LONG, protocol).add_callback(move |transport| {
            drop(port);
            transport.closed()
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["made", "data one", "data two", "lost: the connection was closed"]);
}

#[test]
fn writes_of_a_callback_are_sent_after_it_in_one_call() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| {
            protocol(
                &Log::default(),
                |_| Ok(()),
                |transport, _| {
                    for piece in [b"a", b"b", b"c"] {
                        transport.write(piece);
                    }
                    assert_eq!(transport.unsent(), 3);
                    Ok(())
                },
            )
        });
        let protocol = protocol(
            &noted,
            |transport| {
                transport.write(b"go");
                Ok(())
            },
            |transport, _| {
                transport.lose_connection();
                Ok(())
            },
        );
        connect_tcp(reactor, address, LONG, protocol).add_callback(|transport| transport.closed())
    })
    .unwrap();
    assert_eq!(log.take()[1], "data abc");
}

#[test]
fn a_transport_can_be_written_at_any_time() {
    let received = run_until(|reactor| {
        let loops = reactor.clone();
        let (_, address) = listen(reactor, move |_| {
            let loops = loops.clone();
            protocol(
                &Log::default(),
                move |transport| {
                    for n in 1..=5_u32 {
                        let later = transport.clone();
                        loops.call_later(n * 2 * MS, move || {
                            later.write([n as u8]);
                            if n == 5 {
                                later.lose_connection();
                            }
                        });
                    }
                    Ok(())
                },
                |_, _| Ok(()),
            )
        });
        crate::adapter::spawn(async move { Ok(client(address, read_all).join().unwrap()) })
    });
    assert_eq!(received.unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_peer_that_closed_its_sending_side_still_gets_answers() {
    const LENGTH: usize = 3_000_000;
    let received = run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        crate::adapter::spawn(async move {
            let talk = client(address, |mut stream| {
                let reader = stream.try_clone().unwrap();
                let reads = std::thread::spawn(move || read_all(reader));
                stream.write_all(&pattern(LENGTH)).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                reads.join().unwrap()
            });
            Ok(unblock(|| talk.join().unwrap()).await)
        })
    });
    assert!(received.unwrap() == pattern(LENGTH));
}

/// Counts the received bytes, answers with the count after the end of the stream, and closes.
struct Count(usize);

impl Protocol for Count {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0 += data.len();
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (later, count) = (transport.clone(), self.0);
        transport.reactor().call_later(5 * MS, move || {
            later.write(count.to_string().as_bytes());
            later.lose_connection();
        });
        Ok(())
    }
}

#[test]
fn a_protocol_may_write_to_a_peer_that_closed_its_sending_side() {
    let received = run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Count(0));
        crate::adapter::spawn(async move {
            let talk = client(address, |mut stream| {
                stream.write_all(&[0; 100_000]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                read_all(stream)
            });
            Ok(talk.join().unwrap())
        })
    });
    assert_eq!(received.unwrap(), b"100000");
}

#[test]
fn an_error_or_panic_of_a_callback_loses_the_connection_and_is_reported_once() {
    for panics in [false, true] {
        for at_once in [false, true] {
            let reports = Rc::new(RefCell::new(Vec::new()));
            let sink = reports.clone();
            let _hook = on_unhandled(move |unhandled| sink.borrow_mut().push(unhandled.to_string()));
            let log = Log::default();
            let noted = log.clone();
            let fails = move || if panics { panic!("ouch") } else { Err(Failure::msg("ouch")) };
            run_until(|reactor| {
                let (ended, resolver) = crate::adapter::Deferred::new();
                let resolver = Rc::new(Cell::new(Some(resolver)));
                let (_, address) = listen(reactor, move |_| {
                    let resolver = resolver.clone();
                    protocol(
                        &noted,
                        move |transport| {
                            let resolver = resolver.take().unwrap();
                            drop(transport.closed().map(move |_| resolver.callback(())));
                            if at_once { fails() } else { Ok(()) }
                        },
                        move |_, _| fails(),
                    )
                });
                client(address, |mut stream| {
                    let _ = stream.write_all(b"x");
                    let _ = stream.read(&mut [0]);
                });
                ended
            })
            .unwrap();
            let mut expected = vec!["made", "data x", "lost: a callback has failed: ouch"];
            if at_once {
                expected.remove(1);
            }
            let logged: Vec<_> = log.take().into_iter().map(|line| line.replace("panicked: ", "")).collect();
            assert_eq!(logged, expected);
            let reports = reports.borrow();
            assert_eq!(reports.len(), 1, "{reports:?}");
            assert!(reports[0].contains("ouch") && reports[0].contains("tests/suite/mod.rs"), "{reports:?}");
            assert!(reports[0].contains("::suite::TestProtocol<"), "{reports:?}");
            assert!(
                !reports[0].contains(crate::adapter::SOURCE)
                    && !reports[0].contains("deferred-net/src")
                    && !reports[0].contains("deferred-core/src"),
                "{reports:?}"
            );
        }
    }
}

/// A protocol that panics in `connection_lost`.
struct PanicsInConnectionLost;

impl Protocol for PanicsInConnectionLost {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        transport.abort_connection();
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        panic!("rude");
    }
}

#[test]
fn a_panic_of_connection_lost_is_reported_and_closed_still_fires() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        let failed = unhandled.downcast_ref::<ProtocolFailed>().expect("the report contains a `ProtocolFailed`");
        assert!(failed.protocol().ends_with("PanicsInConnectionLost"));
        sink.borrow_mut().push(failed.failure().downcast_ref::<Panicked>().map(|panic| panic.message().to_owned()));
    });
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| PanicsInConnectionLost);
        client(address, |mut stream| stream.write_all(b"x").unwrap());
        reactor.defer_later(20 * MS, || Ok(())).add_callback(move |()| port.closed())
    })
    .unwrap();
    assert_eq!(*reports.borrow(), [Some("rude".to_owned())]);
}

/// A protocol whose destructor panics.
struct PanicsOnDrop;

impl Protocol for PanicsOnDrop {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        transport.abort_connection();
        Ok(())
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("cursed");
    }
}

#[test]
fn a_panic_of_a_protocols_destructor_is_reported_and_the_next_connection_is_served() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        sink.borrow_mut().push(unhandled.downcast_ref::<Panicked>().map(|panic| panic.message().to_owned()));
    });
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| PanicsOnDrop);
        for _ in 0..2 {
            client(address, |mut stream| {
                stream.write_all(b"x").unwrap();
                let _ = stream.read(&mut [0]);
            });
        }
        reactor.defer_later(20 * MS, || Ok(())).add_callback(move |()| port.closed())
    })
    .unwrap();
    assert_eq!(*reports.borrow(), [Some("cursed".to_owned()), Some("cursed".to_owned())]);
}

#[test]
fn a_reset_by_the_peer_is_not_reported_as_an_error() {
    let reports = Rc::new(Cell::new(0));
    let sink = reports.clone();
    let _hook = on_unhandled(move |_| sink.set(sink.get() + 1));
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (ended, resolver) = crate::adapter::Deferred::new();
        let resolver = Rc::new(Cell::new(Some(resolver)));
        let (_, address) = listen(reactor, move |_| {
            let resolver = resolver.take().unwrap();
            protocol(
                &noted,
                move |transport| {
                    transport.write(b"unread");
                    drop(transport.closed().map(move |_| resolver.callback(())));
                    Ok(())
                },
                |_, _| Ok(()),
            )
        });
        client(address, |stream| {
            // Closing with unread data resets the connection.
            stream.peek(&mut [0]).unwrap();
        });
        ended
    })
    .unwrap();
    assert_eq!(log.take(), ["made", "lost: ConnectionReset"]);
    assert_eq!(reports.get(), 0);
}

/// Logs the end of the peer's stream, and keeps its own side open.
struct Outlasts(Log);

impl Protocol for Outlasts {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.note(format!("{} bytes", data.len()));
        transport.write(b"got it");
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.0.note("the peer has sent everything");
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.0.note(format!("lost: {reason}"));
    }
}

#[test]
fn a_reset_is_not_reported_as_the_end_of_the_stream() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Outlasts(noted.clone()));
        let talks = client(address, |mut stream| {
            stream.write_all(b"x").unwrap();
            stream.peek(&mut [0]).unwrap() // closing with unread data resets the connection
        });
        crate::adapter::spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) })
            .add_callback(move |_| port.closed())
    })
    .unwrap();
    let log = log.take();
    assert!(log.len() == 2 && log[1].starts_with("lost: the connection is broken"), "{log:?}");
}

#[cfg(unix)]
#[test]
fn a_peer_that_sends_exactly_one_buffer_is_read_again() {
    let log = Log::default();
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(&[0; 64 * 1024]).unwrap();
    run_until(|reactor| {
        let transport = over_unix(reactor, ours, Outlasts(log.clone()));
        crate::adapter::spawn(async move {
            theirs.read_exact(&mut [0; 6])?; // then no data was left to read
            theirs.write_all(b"more")?;
            theirs.read_exact(&mut [0; 6])?;
            Ok(theirs)
        })
        .add_callback(move |theirs| {
            transport.abort_connection();
            transport.closed().map(|_| drop(theirs))
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["65536 bytes", "4 bytes", "lost: the connection was aborted"]);
}

#[test]
fn reading_pauses_and_resumes_without_loss() {
    const LENGTH: usize = 2_000_000;
    let received = run_until(|reactor| {
        let (done, resolver) = crate::adapter::Deferred::new();
        let (all, resolver) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(Some(resolver))));
        let (_, address) = listen(reactor, move |_| {
            let (all, resolver) = (all.clone(), resolver.clone());
            protocol(
                &Log::default(),
                |_| Ok(()),
                move |transport, data| {
                    all.borrow_mut().extend_from_slice(data);
                    if all.borrow().len() == LENGTH {
                        resolver.take().unwrap().callback(all.take());
                    }
                    // Pauses in each callback, and resumes at once in some.
                    transport.pause_producing();
                    let later = transport.clone();
                    if data.len() % 3 == 0 {
                        transport.resume_producing();
                    } else {
                        transport.reactor().call_later(MS / 4, move || later.resume_producing());
                    }
                    Ok(())
                },
            )
        });
        client(address, |mut stream| {
            for piece in pattern(LENGTH).chunks(33_333) {
                stream.write_all(piece).unwrap();
            }
            read_all(stream)
        });
        done
    });
    assert!(received.unwrap() == pattern(LENGTH));
}

#[test]
fn nothing_is_read_while_reading_is_paused() {
    let log = Log::default();
    let noted = log.clone();
    run(|reactor| {
        let (_, address) = listen(reactor, move |_| {
            protocol(
                &noted,
                |transport| {
                    transport.pause_producing();
                    Ok(())
                },
                |_, _| Ok(()),
            )
        });
        let handle = reactor.handle();
        client(address, move |mut stream| {
            stream.write_all(b"unheard").unwrap();
            std::thread::sleep(20 * MS);
            handle.stop();
            // Returns when the other side is closed.
            let _ = stream.read(&mut [0]);
        });
    });
    assert_eq!(log.take(), ["made", "lost: the loop has ended"]);
}

#[test]
fn the_end_of_the_loop_calls_connection_lost_on_each_connection() {
    let log = Log::default();
    let noted = log.clone();
    let (sender, ends) = mpsc::channel();
    run(|reactor| {
        let (_, address) = listen(reactor, move |_| protocol(&noted, |_| Ok(()), |_, _| Ok(())));
        for _ in 0..3 {
            let sender = sender.clone();
            client(address, move |stream| sender.send(read_all(stream)).unwrap());
        }
        let stopper = reactor.clone();
        reactor.call_later(50 * MS, move || stopper.stop());
    });
    let lost = "lost: the loop has ended";
    assert_eq!(log.take(), ["made", "made", "made", lost, lost, lost]);
    for _ in 0..3 {
        assert!(ends.recv_timeout(LONG).unwrap().is_empty(), "each peer sees the end");
    }
}

#[test]
fn on_a_closed_reactor_a_connection_ends_at_once() {
    without_driver(|_| {
        let log = Log::default();
        let owner = crate::adapter::Reactor::new();
        let reactor = owner.clone();
        drop(owner);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let protocol = protocol(&log, |_| Ok(()), |_, _| Ok(()));
        let transport = over_tcp(&reactor, socket, protocol);
        assert_eq!(log.take(), ["made", "lost: the loop has ended"]);
        assert!(transport.closed().is_ready());
    });
}

#[cfg(unix)]
#[test]
fn unix_sockets_work_alike() {
    use crate::adapter::net::{connect_unix, listen_unix};
    let path = std::env::temp_dir().join(format!("deferred-net-{}", std::process::id()));
    let log = Log::default();
    let noted = log.clone();
    let at = path.clone();
    let (other, pair) = run_until(|reactor| {
        let port = listen_unix(reactor, &at, || Echo).unwrap();
        let protocol = protocol(
            &noted,
            |transport| {
                transport.write(b"hello");
                Ok(())
            },
            |transport, _| {
                transport.lose_connection();
                Ok(())
            },
        );
        let refused = connect_unix(reactor, "/nowhere/at/all", LONG, Echo);
        let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        over_unix(reactor, ours, Echo);
        let pair = crate::adapter::spawn(async move {
            theirs.write_all(b"pair").unwrap();
            let mut back = [0; 4];
            theirs.read_exact(&mut back).unwrap();
            Ok(back)
        });
        connect_unix(reactor, at, LONG, protocol)
            .add_callback(move |transport| {
                assert!(transport.peer_addr().is_err());
                transport.closed()
            })
            .map(move |_| port.stop_listening())
            .add_callback(|()| refused.add_both(|result| Ok::<_, Failure>(result.is_err())))
            .add_callback(|other| pair.map(move |pair| (other, pair)))
    })
    .unwrap();
    assert!(!path.exists(), "`stop_listening` removes it");
    assert!(other);
    assert_eq!(pair, *b"pair");
    assert_eq!(log.take(), ["made", "data hello", "lost: the connection was closed"]);
}

#[test]
fn the_addresses_of_both_ends_are_known_until_the_end() {
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        connect_tcp(reactor, address, Duration::from_secs(5), Echo).add_callback(move |transport| {
            assert_eq!(transport.peer_addr().unwrap(), address);
            assert_ne!(transport.local_addr().unwrap(), address);
            transport.set_nodelay(false).unwrap();
            transport.abort_connection();
            transport.closed().map(move |_| {
                drop(port);
                assert!(transport.peer_addr().is_err());
                assert!(transport.is_closing());
                transport.write(b"into nothing");
                assert_eq!(transport.unsent(), 0);
            })
        })
    })
    .unwrap();
}

#[test]
fn a_reset_is_reported_as_such_however_it_is_noticed() {
    for round in 0..40 {
        let log = Log::default();
        let noted = log.clone();
        run_until(|reactor| {
            let (ended, resolver) = crate::adapter::Deferred::new();
            let resolver = Rc::new(Cell::new(Some(resolver)));
            let (resets, is_reset) = mpsc::channel();
            let is_reset = Cell::new(Some(is_reset));
            let (_, address) = listen(reactor, move |_| {
                let resolver = resolver.take().unwrap();
                let made = move |transport: &Transport| {
                    drop(transport.closed().map(move |_| resolver.callback(())));
                    transport.write(b"unread");
                    Ok(())
                };
                // The reset is noticed by a read, by a write, or by closing this side.
                let is_reset = is_reset.take().unwrap();
                protocol(&noted, made, move |transport, _| {
                    is_reset.recv_timeout(LONG).unwrap();
                    match round % 4 {
                        0 => {}
                        1 => transport.write(b"more"),
                        2 => transport.lose_connection(),
                        _ => {
                            transport.write(pattern(100_000));
                            transport.lose_connection();
                        }
                    }
                    Ok(())
                })
            });
            client(address, move |mut stream| {
                stream.write_all(b"x").unwrap();
                stream.peek(&mut [0]).unwrap();
                drop(stream); // closing with unread data resets the connection
                resets.send(()).unwrap();
            });
            ended
        })
        .unwrap();
        let last = log.take().pop().unwrap();
        assert!(!last.contains("NotConnected"), "round {round}: {last}");
        assert!(last.contains("ConnectionReset") || last.contains("BrokenPipe"), "round {round}: {last}");
    }
}
