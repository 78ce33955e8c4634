//! Backpressure: slow peers, producers, and `drained`.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use crate::adapter::net::{ConnectionLost, Producer, Protocol, Transport, connect_tcp};
use crate::adapter::{Deferred, Failure, inline_callbacks, over_unix, run_until, spawn, unblock, yield_now};

use super::{Echo, LONG, Log, MS, client, listen, pattern, protocol, read_all};

/// A producer that logs its calls.
#[derive(Clone)]
struct LoggingProducer(Log);

impl Producer for LoggingProducer {
    fn pause_producing(&self) {
        self.0.note("pause");
    }

    fn resume_producing(&self) {
        self.0.note("resume");
    }

    fn stop_producing(&self) {
        self.0.note("stop");
    }
}

#[test]
fn a_producer_is_paused_at_high_water_resumed_at_low_water_and_stopped_at_the_end() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        connect_tcp(reactor, address, LONG, protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()))).add_callback(
            move |transport| {
                transport.register_producer(LoggingProducer(noted.clone()));
                transport.write(vec![0; 60_000]);
                noted.note("written a little");
                transport.write(vec![0; 10_000]);
                transport.write(vec![0; 10_000]);
                noted.note("written much");
                let drained = transport.drained();
                assert!(!drained.is_ready());
                drained.add_callback(move |()| {
                    noted.note("drained");
                    transport.reactor().sleep(5 * MS).add_callback(move |()| {
                        transport.abort_connection();
                        transport.closed().map(move |_| transport.register_producer(LoggingProducer(noted)))
                    })
                })
            },
        )
    })
    .unwrap();
    let expected = ["written a little", "pause", "written much", "drained", "resume", "stop", "stop"];
    assert_eq!(log.take(), expected);
}

#[test]
fn a_write_over_the_limit_loses_the_connection() {
    let reason = Rc::new(RefCell::new(None));
    struct Floods(Rc<RefCell<Option<usize>>>);
    impl Protocol for Floods {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.set_write_limit(1_000_000);
            transport.write(vec![0; 1_000_000]);
            transport.write(vec![0; 9_000_000]); // a single large write is allowed
            transport.write([0]);
            Ok(())
        }

        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }

        fn connection_lost(&mut self, reason: &ConnectionLost) {
            if let ConnectionLost::TooSlow { unsent } = reason {
                self.0.replace(Some(*unsent));
            }
        }
    }
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        connect_tcp(reactor, address, LONG, Floods(reason.clone())).add_callback(|transport| transport.closed())
    })
    .unwrap();
    assert_eq!(reason.take(), Some(10_000_000));
}

#[test]
fn drained_fails_when_the_connection_ends() {
    let failed = run_until(|reactor| {
        let (port, address) = listen(reactor, |_| protocol(&Log::default(), |_| Ok(()), |_, _| Ok(())));
        drop(port);
        connect_tcp(reactor, address, LONG, Echo).add_callback(|transport| {
            transport.write(pattern(15_000_000));
            let drained = transport.drained();
            transport.abort_connection();
            drained.add_both(move |result| {
                let again = transport.drained().try_take().unwrap();
                Ok::<_, Failure>((result, again))
            })
        })
    });
    let (first, again) = failed.unwrap();
    assert!(first.unwrap_err().check::<ConnectionLost>());
    assert!(again.unwrap_err().check::<ConnectionLost>());
}

#[test]
fn an_echo_that_is_its_own_producer_needs_little_memory_for_a_slow_peer() {
    /// Records the maximum of unsent bytes.
    struct Measured(Rc<Cell<usize>>);
    impl Protocol for Measured {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.register_producer(transport.clone());
            Ok(())
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
            transport.write(data);
            self.0.set(self.0.get().max(transport.unsent()));
            Ok(())
        }

        fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.unregister_producer();
            transport.lose_connection();
            Ok(())
        }
    }
    const LENGTH: usize = 30_000_000;
    let most = Rc::new(Cell::new(0));
    let seen = most.clone();
    let received = run_until(|reactor| {
        let (_, address) = listen(reactor, move |_| Measured(seen.clone()));
        let (sender, receiver) = mpsc::channel();
        client(address, move |mut stream| {
            let mut reader = stream.try_clone().unwrap();
            let writes = thread::spawn(move || {
                stream.write_all(&pattern(LENGTH)).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            thread::sleep(50 * MS); // reads nothing meanwhile
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            writes.join().unwrap();
            sender.send(all == pattern(LENGTH)).unwrap();
        });
        spawn(async move { Ok(unblock(move || receiver.recv_timeout(LONG).unwrap()).await) })
    });
    assert!(received.unwrap());
    assert!((64 * 1024..=2 * 64 * 1024).contains(&most.get()), "{}", most.get());
}

/// A half of a proxy, which forwards all data to the other half.
struct Half {
    other: Rc<RefCell<Option<Transport>>>,
    most: Rc<Cell<usize>>,
}

impl Protocol for Half {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        let other = self.other.borrow().clone().expect("reading begins after the other half is connected");
        other.write(data);
        self.most.set(self.most.get().max(other.unsent()));
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let other = self.other.borrow().clone().expect("as above");
        other.unregister_producer();
        other.lose_connection();
        transport.lose_connection();
        Ok(())
    }
}

#[test]
fn a_proxy_reads_no_faster_than_the_slower_side() {
    const LENGTH: usize = 10_000_000;
    let most = Rc::new(Cell::new(0));
    let seen = most.clone();
    let received = run_until(|reactor| {
        // A slow reader is connected to the other side.
        let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = slow.local_addr().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = slow.accept().unwrap();
            let (mut all, mut piece) = (Vec::new(), vec![0; 500_000]);
            loop {
                thread::sleep(MS);
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    length => all.extend_from_slice(&piece[..length]),
                }
            }
            sender.send(all == pattern(LENGTH)).unwrap();
        });
        let loops = reactor.clone();
        let (_, address) = listen(reactor, move |_| {
            let (there, here) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
            let (loops, seen, slot) = (loops.clone(), seen.clone(), there.clone());
            let back = Half { other: here.clone(), most: Rc::default() };
            struct Opens<F>(Half, Option<F>);
            impl<F: FnOnce(&Transport) + 'static> Protocol for Opens<F> {
                fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
                    self.1.take().unwrap()(transport);
                    Ok(())
                }
                fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
                    self.0.data_received(transport, data)
                }
                fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
                    self.0.read_connection_lost(transport)
                }
            }
            let opens = move |front: &Transport| {
                front.pause_producing();
                here.replace(Some(front.clone()));
                let front = front.clone();
                drop(connect_tcp(&loops, target, LONG, back).map(move |backend| {
                    backend.register_producer(front.clone());
                    slot.replace(Some(backend));
                    front.resume_producing();
                }));
            };
            Opens(Half { other: there, most: seen }, Some(opens))
        });
        client(address, |mut stream| {
            stream.write_all(&pattern(LENGTH)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_all(stream)
        });
        spawn(async move { Ok(unblock(move || receiver.recv_timeout(LONG).unwrap()).await) })
    });
    assert!(received.unwrap());
    assert!((1..=2 * 64 * 1024).contains(&most.get()), "{}", most.get());
}

#[test]
fn when_one_side_of_a_proxy_ends_the_other_is_closed() {
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let front = connect_tcp(reactor, address, LONG, Echo);
        let backend = connect_tcp(reactor, address, LONG, Echo);
        front.add_callback(|front| {
            backend.add_callback(move |backend| {
                backend.register_producer(front.clone());
                backend.abort_connection();
                assert!(!front.is_closing());
                backend.closed().add_callback(move |_| {
                    assert!(front.is_closing());
                    front.closed()
                })
            })
        })
    })
    .unwrap();
}

#[test]
fn a_coroutine_writes_much_and_waits_for_the_drain() {
    const PIECES: usize = 200;
    let received = run_until(|reactor| {
        let (sender, receiver) = mpsc::channel();
        let (_, address) = listen(reactor, move |_| {
            let sends = |transport: &Transport| {
                let transport = transport.clone();
                drop(inline_callbacks(async move {
                    for n in 0..PIECES {
                        transport.write(vec![n as u8; 50_000]);
                        assert!(transport.unsent() <= 64 * 1024 + 50_000);
                        transport.drained().await?;
                    }
                    transport.lose_connection();
                    Ok(())
                }));
                Ok(())
            };
            protocol(&Log::default(), sends, |_, _| Ok(()))
        });
        client(address, move |stream| sender.send(read_all(stream)).unwrap());
        spawn(async move { Ok(unblock(move || receiver.recv_timeout(LONG).unwrap()).await) })
    });
    let expected: Vec<_> = (0..PIECES).flat_map(|n| [n as u8; 50_000]).collect();
    assert!(received.unwrap() == expected);
}

#[test]
fn a_peer_that_never_reads_does_not_delay_others() {
    const ROUNDS: usize = 100;
    let counts = run_until(|reactor| {
        let all: Rc<RefCell<Vec<Transport>>> = Rc::default();
        let joins = all.clone();
        let (_, address) = listen(reactor, move |_| {
            let joins = joins.clone();
            let made = move |transport: &Transport| {
                joins.borrow_mut().push(transport.clone());
                Ok(())
            };
            protocol(&Log::default(), made, |_, _| Ok(()))
        });
        let never_reads = TcpStream::connect(address).unwrap();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..5 {
            let sender = sender.clone();
            client(address, move |stream| sender.send(read_all(stream).len()).unwrap());
        }
        let speaks = inline_callbacks({
            let reactor = reactor.clone();
            async move {
                while all.borrow().len() < 6 {
                    reactor.sleep(MS).await?;
                }
                for _ in 0..ROUNDS {
                    all.borrow().iter().for_each(|transport| transport.write(vec![1; 100_000]));
                    // All connections but one drain.
                    let waiting: Vec<_> = all.borrow().iter().skip(1).map(Transport::drained).collect();
                    crate::adapter::gather(waiting).await?;
                }
                let (unread, others) = (all.borrow()[0].clone(), all.borrow()[1..].to_vec());
                assert!(unread.unsent() > 0);
                others.iter().for_each(Transport::lose_connection);
                let counts = unblock(move || (0..5).map(|_| receiver.recv_timeout(LONG).unwrap()).collect::<Vec<_>>());
                let counts = counts.await;
                drop(never_reads);
                Ok(counts)
            }
        });
        let speaks: Deferred<Vec<usize>> = speaks;
        speaks
    });
    assert_eq!(counts.unwrap(), [ROUNDS * 100_000; 5]);
}

#[test]
fn a_waiting_write_does_not_keep_the_loop_awake() {
    // Each state in which data can be read or sent but must wait.
    type Wait = fn(&Transport);
    let waits: [(&str, Wait); 3] = [
        ("paused", Transport::pause_producing),
        ("blocked", |transport| transport.write(vec![0; 12_000_000])),
        ("closing", |transport| {
            transport.write(vec![0; 12_000_000]);
            transport.lose_connection();
        }),
    ];
    for (what, wait) in waits {
        let turns = run_until(|reactor| {
            let (_, address) = listen(reactor, move |_| {
                protocol(
                    &Log::default(),
                    |_| Ok(()),
                    move |transport, data| {
                        if data.len() == 64 * 1024 && transport.unsent() == 0 {
                            wait(transport);
                        }
                        Ok(())
                    },
                )
            });
            // The peer reads nothing.
            let sends = client(address, |mut stream| {
                let _ = stream.set_write_timeout(Some(500 * MS));
                let _ = stream.write_all(&[0; 4_000_000]);
                stream
            });
            let reactor = reactor.clone();
            inline_callbacks(async move {
                reactor.sleep(100 * MS).await?;
                let before = reactor.health().turns;
                reactor.sleep(100 * MS).await?;
                let turns = reactor.health().turns - before;
                drop(unblock(|| sends.join()).await);
                Ok(turns)
            })
        });
        let turns = turns.unwrap();
        assert!(turns < 50, "{what}: {turns} turns while idle");
    }
}

#[test]
fn a_producer_that_panics_loses_the_connection_and_is_reported() {
    struct Panics;
    impl Producer for Panics {
        fn pause_producing(&self) {}

        fn resume_producing(&self) {
            panic!("no more");
        }
    }
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = crate::adapter::on_unhandled(move |unhandled| sink.borrow_mut().push(unhandled.to_string()));
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        connect_tcp(reactor, address, LONG, protocol(&noted, |_| Ok(()), |_, _| Ok(()))).add_callback(|transport| {
            transport.register_pull_producer(Panics);
            transport.closed()
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["made", "lost: a callback has failed: panicked: no more"]);
    assert_eq!(reports.borrow().len(), 1, "{reports:?}");
}

/// Records the number of unsent bytes at each `resume_producing`, and writes nothing.
struct Asked {
    transport: Transport,
    unsent: Rc<RefCell<Vec<usize>>>,
}

impl Producer for Asked {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.unsent.borrow_mut().push(self.transport.unsent());
    }
}

#[test]
fn a_pull_producer_is_called_once_for_each_chunk_after_all_is_sent() {
    let unsent = Rc::new(RefCell::new(Vec::new()));
    let asked = unsent.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let ends = |transport: &Transport, _: &[u8]| {
            transport.abort_connection();
            Ok(())
        };
        let protocol = protocol(&Log::default(), |_| Ok(()), ends);
        connect_tcp(reactor, address, LONG, protocol).add_callback(|transport| {
            transport.register_pull_producer(Asked { transport: transport.clone(), unsent: asked.clone() });
            transport.reactor().sleep(2 * MS).add_callback(move |()| {
                transport.pause_producing();
                transport.resume_producing(); // schedules the connection, which must not call the producer
                transport.reactor().sleep(2 * MS).add_callback(move |()| {
                    assert_eq!(*asked.borrow(), [0]);
                    transport.write(b"a piece");
                    transport.closed()
                })
            })
        })
    })
    .unwrap();
    assert_eq!(unsent.take(), [0, 0]);
}

#[test]
fn a_producer_stays_paused_if_a_drained_callback_writes_much() {
    let unsent = Rc::new(RefCell::new(Vec::new()));
    let asked = unsent.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        connect_tcp(reactor, address, LONG, quiet).add_callback(|transport| {
            transport.register_producer(Asked { transport: transport.clone(), unsent: asked });
            transport.write(vec![0; 100_000]);
            let writes = transport.clone();
            transport.drained().add_callback(move |()| {
                writes.write(vec![0; 50_000]);
                transport.reactor().sleep(5 * MS)
            })
        })
    })
    .unwrap();
    let unsent = unsent.take();
    assert!(unsent.len() == 1 && unsent[0] <= 16 * 1024, "{unsent:?}");
}

/// Logs when reading resumes.
struct Resumes(Log);

impl Protocol for Resumes {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.0.note("data");
        transport.pause_producing();
        transport.resume_producing();
        transport.pause_producing(); // the last call counts
        let (later, log) = (transport.clone(), self.0.clone());
        transport.reactor().call_later(5 * MS, move || {
            log.note("resume");
            later.resume_producing();
        });
        Ok(())
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.note("resumed");
        transport.abort_connection();
        Ok(())
    }
}

#[test]
fn reading_paused_again_before_it_resumed_stays_paused() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        connect_tcp(reactor, address, LONG, Resumes(noted)).add_callback(|transport| {
            transport.write(b"x");
            transport.closed()
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["data", "resume", "resumed"]);
}

#[test]
fn drained_waits_from_high_water_until_a_quarter_of_it_is_left() {
    let states = Rc::new(RefCell::new(Vec::new()));
    let seen = states.clone();
    run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        connect_tcp(reactor, address, LONG, quiet).add_callback(move |transport| {
            transport.set_high_water(40_000);
            for bytes in [15_000, 25_000, 1] {
                transport.write(vec![0; bytes]);
                seen.borrow_mut().push(transport.drained().is_ready());
            }
            let (waits, more) = (transport.drained(), transport.clone());
            waits.add_callback(move |()| {
                assert!(more.unsent() <= 10_000);
                more.write(vec![0; 39_000]);
                seen.borrow_mut().push(more.drained().is_ready());
                more.abort_connection();
                Ok(())
            })
        })
    })
    .unwrap();
    assert_eq!(states.take(), [true, true, false, true]);
}

#[cfg(unix)]
#[test]
fn the_drain_does_not_wait_for_the_last_quarter() {
    let (mut theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let left = run_until(|reactor| {
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        let transport = over_unix(reactor, ours, quiet);
        transport.set_high_water(1_000_000);
        transport.write(vec![0; 2_000_000]);
        let left = transport.drained().map(move |()| transport.unsent());
        inline_callbacks(async move {
            while !left.is_ready() {
                let _ = theirs.read(&mut [0; 10_000]); // reads on this thread, so that it is no faster
                yield_now().await;
            }
            left.await
        })
    });
    let left = left.unwrap();
    assert!((1..=250_000).contains(&left), "{left}");
}

#[test]
fn with_a_high_water_of_zero_drained_waits_for_everything() {
    let left = run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let quiet = protocol(&Log::default(), |_| Ok(()), |_, _| Ok(()));
        connect_tcp(reactor, address, LONG, quiet).add_callback(|transport| {
            transport.set_high_water(0);
            transport.write(b"x");
            let drained = transport.drained();
            assert!(!drained.is_ready());
            drained.map(move |()| transport.unsent())
        })
    });
    assert_eq!(left.unwrap(), 0);
}
