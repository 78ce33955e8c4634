//! Ports: accepted connections, and the shutdown of a server.

use std::cell::{Cell, RefCell};
use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::process::{self, Command};
use std::rc::Rc;
use std::task::Waker;
use std::thread;

use crate::adapter::net::{
    ClientEndpoint, Port, ServerEndpoint, Transport, connect_tcp, listen_on_tcp, listen_tcp, listen_unix,
};
use crate::adapter::{
    Deferred, Failure, Phase, Reactor, SOURCE, SystemEvent, on_unhandled, run, run_until, serve, spawn, unblock,
    yield_now,
};

use super::{Echo, LONG, Log, MS, client, listen, pattern, protocol, read_all};

/// Returns a Deferred that fires when the port has that number of connections.
fn has(port: &Port, connections: usize, reactor: &Reactor) -> Deferred<()> {
    let (port, reactor) = (port.clone(), reactor.clone());
    crate::adapter::inline_callbacks(async move {
        while port.len() != connections {
            reactor.sleep(MS).await?;
        }
        Ok(())
    })
}

#[test]
fn an_address_in_use_is_an_error_at_once() {
    run(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        assert_eq!(listen_tcp(reactor, address, |_| Echo).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(listen_tcp(reactor, "no address", |_| Echo).is_err());
        reactor.stop();
    });
}

#[test]
fn a_listening_socket_can_be_used() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = run_until(|reactor| {
        let (deferred, resolver) = Deferred::new();
        let resolver = Cell::new(Some(resolver));
        listen_on_tcp(reactor, listener, move |peer| {
            resolver.take().unwrap().callback(peer);
            Echo
        })
        .unwrap();
        let local = TcpStream::connect(address).unwrap().local_addr().unwrap();
        deferred.map(move |peer| (peer, local))
    });
    let (peer, local) = peer.unwrap();
    assert_eq!(peer, local);
}

#[test]
fn after_stop_listening_no_connection_is_accepted_and_existing_ones_continue() {
    let (refused, echoed) = run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let stream = TcpStream::connect(address).unwrap();
        has(&port, 1, reactor).add_callback(move |()| {
            port.stop_listening();
            port.stop_listening();
            let refused = TcpStream::connect(address).is_err();
            spawn(async move {
                let mut writer = stream.try_clone()?;
                writer.write_all(b"still there")?;
                writer.shutdown(Shutdown::Write)?;
                Ok((refused, unblock(|| read_all(stream)).await))
            })
        })
    })
    .unwrap();
    assert!(refused);
    assert_eq!(echoed, b"still there");
}

#[test]
fn a_port_knows_its_connections() {
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        assert!(port.is_empty());
        let streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (again, loops) = (port.clone(), reactor.clone());
        has(&port, 3, reactor)
            .add_callback(move |()| {
                let peers: Vec<_> = again.connections().iter().map(|one| one.peer_addr().unwrap()).collect();
                let locals: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap()).collect();
                assert_eq!(peers, locals);
                assert!(!again.is_empty());
                let left = streams.into_iter().skip(1).collect::<Vec<_>>();
                has(&again, 2, &loops).map(move |()| {
                    let stats = again.stats();
                    assert_eq!((stats.connections, stats.accepted, stats.accept_errors), (2, 3, 0));
                    drop(left);
                })
            })
            .add_callback(move |()| port.closed().map(move |()| assert!(port.is_empty())))
    })
    .unwrap();
}

#[test]
fn shut_down_closes_all_connections_and_aborts_those_that_do_not_read() {
    let log = Log::default();
    let noted = log.clone();
    let (aborted, received) = run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| protocol(&noted, |_| Ok(()), |_, _| Ok(())));
        let readers: Vec<_> = (0..5).map(|_| client(address, read_all)).collect();
        let never_reads = TcpStream::connect(address).unwrap();
        let local = never_reads.local_addr().unwrap();
        has(&port, 6, reactor).add_callback(move |()| {
            for connection in port.connections() {
                if connection.peer_addr().unwrap() == local {
                    connection.write(pattern(12_000_000));
                }
                connection.write(b"the server shuts down");
            }
            port.shut_down(200 * MS).add_callback(move |aborted| {
                assert!(port.is_empty());
                drop(never_reads);
                Ok((aborted, readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()))
            })
        })
    })
    .unwrap();
    assert_eq!(aborted, 1);
    assert_eq!(received, [b"the server shuts down"; 5]);
    let log = log.take();
    let count = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("closed"), count("aborted")), (5, 1), "{log:?}");
}

#[test]
fn shut_down_of_a_port_without_connections_finishes_at_once() {
    run(|reactor| {
        let (port, _) = listen(reactor, |_| Echo);
        assert_eq!(port.shut_down(LONG).try_take().unwrap().unwrap(), 0);
        assert_eq!(reactor.delayed_calls().len(), 0);
        reactor.stop();
    });
}

#[test]
fn the_shutdown_of_the_loop_waits_for_the_port() {
    let reads = run(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let reads = client(address, read_all);
        let (port, stopper) = (Rc::new(port), reactor.clone());
        let ends = port.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            ends.connections().iter().for_each(|connection| connection.write(b"goodbye"));
            ends.shut_down(LONG).map(|_| ())
        });
        drop(has(&port, 1, reactor).map(move |()| stopper.stop()));
        Ok::<_, std::io::Error>(reads)
    })
    .unwrap();
    assert_eq!(reads.join().unwrap(), b"goodbye");
}

#[test]
fn a_panic_of_the_factory_is_reported_and_the_next_connection_is_served() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| sink.borrow_mut().push(unhandled.to_string()));
    let echoed = run_until(|reactor| {
        let mut first = true;
        let (_, address) = listen(reactor, move |_| {
            assert!(!std::mem::take(&mut first), "no protocol today");
            Echo
        });
        let talks = thread::spawn(move || {
            let mut all = Vec::new();
            let _ = TcpStream::connect(address).unwrap().read_to_end(&mut all); // closed or reset
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"and now?").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_all(stream)
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) })
    });
    assert_eq!(echoed.unwrap(), b"and now?");
    assert_eq!(reports.borrow().len(), 1);
    assert!(reports.borrow()[0].contains("no protocol today"));
    assert!(!reports.borrow()[0].contains("src/net"), "where the program listens: {}", reports.borrow()[0]);
}

#[test]
fn an_error_names_the_address_or_the_path() {
    run(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let taken = listen_tcp(reactor, address, |_| Echo).unwrap_err();
        assert!(taken.to_string().contains(&address.to_string()) && taken.kind() == ErrorKind::AddrInUse, "{taken}");
        let unknown = listen_tcp(reactor, "no address", |_| Echo).unwrap_err();
        assert!(unknown.to_string().contains("\"no address\""), "{unknown}");
        let path = env::temp_dir().join("deferred-no-such-folder").join("socket");
        let missing = listen_unix(reactor, &path, || Echo).unwrap_err();
        assert!(missing.to_string().contains("deferred-no-such-folder"), "{missing}");
        reactor.stop();
    });
}

#[test]
fn listening_on_a_closed_reactor_fails() {
    let reactor = Reactor::new();
    reactor.close();
    let path = env::temp_dir().join(format!("deferred-closed-{}", process::id()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for refused in [
        listen_tcp(&reactor, "127.0.0.1:0", |_| Echo),
        listen_on_tcp(&reactor, listener, |_| Echo),
        listen_unix(&reactor, &path, || Echo),
    ] {
        assert!(refused.unwrap_err().to_string().contains("the reactor is closed"));
    }
    assert!(!path.exists(), "the socket file was removed");
}

#[test]
fn a_reactor_without_sockets_says_what_to_call() {
    let reactor = Reactor::new();
    let refused = listen_tcp(&reactor, "127.0.0.1:0", |_| Echo).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("call `net::install(&reactor)`"), "{refused}");
    let connects = connect_tcp(&reactor, "127.0.0.1:1", LONG, Echo);
    let _ = reactor.turn(Waker::noop());
    let refused = connects.try_take().unwrap().unwrap_err();
    assert!(refused.to_string().contains("this reactor has no sockets"), "{refused}");
}

#[cfg(unix)]
#[test]
fn the_file_of_a_unix_socket_is_removed_at_the_end_unless_it_is_another_one() {
    let path = env::temp_dir().join(format!("deferred-removed-{}-{}", process::id(), SOURCE.replace('/', "-")));
    let exists_after = |end: fn(&Reactor, &Port, &std::path::Path)| {
        run(|reactor| {
            let port = listen_unix(reactor, &path, || Echo).unwrap();
            assert!(path.exists());
            end(reactor, &port, &path);
            reactor.stop();
        });
        path.exists()
    };
    assert!(!exists_after(|_, port, path| {
        port.stop_listening();
        assert!(!path.exists(), "at once");
    }));
    assert!(!exists_after(|_, _, _| ()), "the reactor is closed");
    assert!(exists_after(|_, port, path| {
        fs::remove_file(path).unwrap();
        fs::write(path, "another").unwrap();
        port.stop_listening();
    }));
    fs::remove_file(&path).unwrap();
    let mode = run(|reactor| {
        use std::os::unix::fs::PermissionsExt;
        reactor.stop();
        let port = ServerEndpoint::unix(&path).mode(0o600).backlog(1).listen(reactor, |_| Echo)?;
        let mode = fs::metadata(&path)?.permissions().mode();
        port.stop_listening();
        Ok::<_, Failure>(mode & 0o777)
    });
    assert_eq!(mode.unwrap(), 0o600);
}

#[test]
fn endpoints_listen_and_connect_with_their_options() {
    run_until(|reactor| {
        let first = ServerEndpoint::tcp("127.0.0.1:0").reuse_port(true).listen(reactor, |transport| {
            assert!(transport.peer_addr().is_ok());
            Echo
        });
        let first = first.unwrap();
        let address = first.local_addr().unwrap();
        let endpoint = ServerEndpoint::tcp(address.to_string());
        let refused = endpoint.listen(reactor, |_| Echo).unwrap_err();
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
        let second = endpoint.reuse_port(true).listen(reactor, |_| Echo).unwrap();
        let client: ClientEndpoint = format!("tcp:127.0.0.1:{}:bindAddress=127.0.0.1", address.port()).parse().unwrap();
        client.connect(reactor, Echo).add_callback(move |transport| {
            assert_eq!(transport.peer_addr().unwrap(), address);
            transport.set_keepalive(Some(LONG)).unwrap();
            transport.with_socket(|socket| {
                assert!(socket.keepalive()?);
                socket.set_recv_buffer_size(100_000)
            })?;
            transport.abort_connection();
            first.stop_listening();
            second.stop_listening();
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn serve_returns_the_error_of_the_listening() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failure = serve(address, |_| Echo).unwrap_err();
    assert!(failure.to_string().contains(&address.to_string()), "{failure}");
}

#[test]
fn a_burst_of_connects_waits_in_the_backlog() {
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let allowed = fs::read_to_string("/proc/sys/net/core/somaxconn");
        let burst = allowed.map_or(128, |text| text.trim().parse::<usize>().unwrap()).min(1000);
        // The loop accepts none of them before the end of this closure.
        let clients: Vec<_> = (0..burst).map(|_| TcpStream::connect_timeout(&address, LONG).unwrap()).collect();
        has(&port, burst, reactor).map(move |()| drop(clients))
    })
    .unwrap();
}

#[test]
fn a_port_that_is_stopped_in_connection_made_accepts_no_other_one() {
    for shuts_down in [false, true] {
        let made = Rc::new(Cell::new(0));
        let left = run_until(|reactor| {
            let (ended, resolver) = Deferred::new();
            let (kept, resolver) = (Rc::new(RefCell::new(None::<Port>)), Rc::new(Cell::new(Some(resolver))));
            let (counts, stops) = (made.clone(), kept.clone());
            let (port, address) = listen(reactor, move |_| {
                let (counts, stops, resolver) = (counts.clone(), stops.clone(), resolver.clone());
                let made = move |transport: &Transport| {
                    counts.set(counts.get() + 1);
                    let port = stops.borrow().clone().expect("the port was stored before the first client");
                    let Some(resolver) = resolver.take() else { return Ok(()) };
                    if shuts_down {
                        let down = port.shut_down(LONG);
                        down.map(move |_| port.len()).chain_deferred(resolver);
                    } else {
                        port.stop_listening();
                        transport.abort_connection();
                        transport.closed().map(move |_| port.len()).chain_deferred(resolver);
                    }
                    Ok(())
                };
                protocol(&Log::default(), made, |_, _| Ok(()))
            });
            kept.replace(Some(port));
            // All clients wait when the loop starts.
            let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
            ended.add_finally(move || drop(clients))
        });
        assert_eq!((made.get(), left.unwrap()), (1, 0), "shuts down: {shuts_down}");
    }
}

#[test]
fn a_port_that_is_shut_down_in_its_factory_does_not_start_that_connection() {
    let made = Rc::new(Cell::new(0));
    let counts = made.clone();
    let left = run_until(move |reactor| {
        let (ended, resolver) = Deferred::new();
        let (kept, resolver) = (Rc::new(RefCell::new(None::<Port>)), Cell::new(Some(resolver)));
        let stops = kept.clone();
        let (port, address) = listen(reactor, move |_| {
            let port = stops.borrow().clone().expect("the port was stored before the first client");
            if let Some(resolver) = resolver.take() {
                let down = port.shut_down(LONG);
                down.map(move |_| port.len()).chain_deferred(resolver);
            }
            let counts = counts.clone();
            let made = move |_: &Transport| {
                counts.set(counts.get() + 1);
                Ok(())
            };
            protocol(&Log::default(), made, |_, _| Ok(()))
        });
        kept.replace(Some(port));
        let client = TcpStream::connect(address).unwrap();
        ended.add_finally(move || drop(client))
    });
    assert_eq!((left.unwrap(), made.get()), (0, 0));
}

#[test]
fn other_calls_run_while_many_connections_are_accepted() {
    let mut seen = run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        crate::adapter::inline_callbacks(async move {
            let mut seen = Vec::new();
            while port.len() < clients.len() {
                seen.push(port.len());
                yield_now().await;
            }
            Ok(seen)
        })
    })
    .unwrap();
    seen.dedup();
    assert_eq!(seen, [0, 64]);
}

/// The environment variable that is set in the process with a low limit on files.
const FEW_FILES: &str = "DEFERRED_TEST_FEW_FILES";

#[test]
fn connections_beyond_the_file_limit_are_served_later_without_a_report() {
    if env::var_os(FEW_FILES).is_none() {
        let name = "listen::connections_beyond_the_file_limit_are_served_later_without_a_report";
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""]);
        let output = limited.arg(env::current_exe().unwrap()).arg(name).env(FEW_FILES, "").output().unwrap();
        return assert!(output.status.success(), "{output:?}");
    }
    // Ends the process if the loop retries without a pause and starves everything else.
    thread::spawn(|| {
        thread::sleep(LONG / 6);
        process::exit(1);
    });
    let reports = Rc::new(Cell::new(0));
    let sink = reports.clone();
    let _hook = on_unhandled(move |_| sink.set(sink.get() + 1));
    let echoed = run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"and now?").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let all_that_are_left: Vec<_> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
        reactor.call_later(30 * MS, move || drop(all_that_are_left));
        spawn(async move { Ok(unblock(|| read_all(stream)).await) })
    });
    assert_eq!(echoed.unwrap(), b"and now?");
    assert_eq!(reports.get(), 0);
}
