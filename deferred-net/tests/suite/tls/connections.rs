//! Connections that begin with TLS: data, certificates, ends and handshakes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use deferred_core::testing::Reports;
use deferred_net::tls::rustls::server::WebPkiClientVerifier;
use deferred_net::tls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::super::{Echo, LONG, Log, MS, client, pattern, protocol};
use super::{AUTHORITY, localhost, server, server_with, trusting};
use crate::adapter::net::{ConnectionLost, Port, ServerEndpoint, Transport, connect_tls, listen_tls, on_data, on_line};
use crate::adapter::{Clock, Deferred, inline_callbacks, net, run_until, spawn, unblock, without_driver};

fn at(port: &Port) -> String {
    format!("localhost:{}", port.local_addr().unwrap().port())
}

/// A blocking client of rustls.
fn rustls_client(socket: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(ClientConnection::new(config, localhost()).unwrap(), socket)
}

/// Reads until the peer announces its end.
fn read_to_end(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

#[test]
fn data_and_both_ends_pass_in_both_directions() {
    let sent = pattern(3_000_000);
    let expected = sent.clone();
    let (received, reason) = run_until(|reactor| {
        let port = listen_tls(reactor, "127.0.0.1:0", server(), |_| Echo).unwrap();
        let (all, resolver) = Deferred::new();
        let mut received = Vec::new();
        let mut resolver = Some(resolver);
        let length = sent.len();
        let client = on_data(move |_, data| {
            received.extend_from_slice(data);
            if received.len() == length {
                resolver.take().unwrap().callback(std::mem::take(&mut received));
            }
        })
        .on_made(move |transport| {
            assert_eq!(transport.alpn_protocol().unwrap(), b"first");
            assert_eq!(transport.peer_certificates().unwrap().len(), 1);
            assert!(transport.is_tls());
            transport.write(&sent);
            transport.lose_write_connection();
        });
        connect_tls(reactor, at(&port), trusting(), LONG, client).add_callback(move |transport| {
            all.add_callback(move |all| transport.closed().map(|reason| (all, reason)))
                .add_callback(move |both| port.closed().map(move |()| both))
        })
    })
    .unwrap();
    assert!(received == expected);
    assert!(matches!(reason, ConnectionLost::Done), "{reason}");
}

#[test]
fn the_client_of_rustls_is_served() {
    let sent = pattern(1_000_000);
    let expected = sent.clone();
    let received = run_until(|reactor| {
        let port = listen_tls(reactor, "127.0.0.1:0", server(), |_| Echo).unwrap();
        let talks = client(port.local_addr().unwrap(), move |socket| {
            let reader = socket.try_clone().unwrap();
            let mut stream = rustls_client(socket, trusting());
            for piece in sent.chunks(10_000) {
                stream.write_all(piece).unwrap();
                let mut echoed = vec![0; piece.len()];
                stream.read_exact(&mut echoed).unwrap();
                assert!(echoed == piece);
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            // The server announces its end too.
            assert!(read_to_end(&mut stream).unwrap().is_empty());
            drop(reader);
            sent
        });
        spawn(async move { Ok(unblock(move || talks.join().unwrap()).await) })
    })
    .unwrap();
    assert!(received == expected);
}

/// Connects with `config`. Returns the error of TLS, and checks that no protocol was called.
fn refused(server: Arc<ServerConfig>, config: Arc<ClientConfig>, name: &str) -> (rustls::Error, String) {
    let log = Log::default();
    let noted = log.clone();
    let name = name.to_owned();
    let failed = run_until(|reactor| {
        let of_server = noted.clone();
        let factory = move |_| protocol(&of_server, |_| Ok(()), |_, _| Ok(()));
        let (port, owner) = (listen_tls(reactor, "127.0.0.1:0", server, factory).unwrap(), reactor.clone());
        let address = name.replace("PORT", &port.local_addr().unwrap().port().to_string());
        connect_tls(reactor, address, config, LONG, protocol(&noted, |_| Ok(()), |_, _| Ok(())))
            .map(|_| ())
            .add_both(move |result| {
                inline_callbacks(async move {
                    while port.stats().failed_handshakes == 0 {
                        owner.sleep(MS).await?;
                    }
                    assert!(port.is_empty());
                    Ok(result)
                })
            })
            .add_timeout(LONG, reactor)
    });
    let failure = failed.unwrap().unwrap_err();
    assert!(log.take().is_empty(), "no callback is called");
    let text = failure.to_string();
    let error = failure.downcast::<io::Error>().unwrap();
    (error.into_inner().unwrap().downcast_ref::<rustls::Error>().unwrap().clone(), text)
}

#[test]
fn a_certificate_that_is_not_valid_fails_the_connect() {
    let (error, text) = refused(server(), trusting_nobody(), "localhost:PORT");
    assert!(matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)), "{error:?}");
    assert!(text.contains("UnknownIssuer"), "{text}");

    let (error, text) = refused(server(), trusting(), "127.0.0.1:PORT");
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
    // Older versions of rustls do not name the address.
    assert!(text.contains("127.0.0.1") || text.contains("NotValidForName"), "{text}");

    let expired = AUTHORITY.issue("localhost", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let (error, text) = refused(Arc::new(server_with(expired)), trusting(), "localhost:PORT");
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error:?}");
    assert!(text.to_lowercase().contains("expired"), "{text}");
}

fn trusting_nobody() -> Arc<ClientConfig> {
    Arc::new(ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// A server that requires certificates of its clients.
fn strict_server() -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(AUTHORITY.roots())).build().unwrap();
    let (certificates, key) = AUTHORITY.issue("localhost", |_| ());
    Arc::new(ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(certificates, key).unwrap())
}

#[test]
fn a_server_sees_the_certificate_of_its_client() {
    let (certificates, key) = AUTHORITY.issue("client", |_| ());
    let sent = certificates[0].clone();
    let config = ClientConfig::builder().with_root_certificates(AUTHORITY.roots());
    let config = Arc::new(config.with_client_auth_cert(certificates, key).unwrap());
    let seen = run_until(|reactor| {
        let (seen, resolver) = Deferred::new();
        let mut resolver = Some(resolver);
        let factory = move |_| {
            let resolver = resolver.take().unwrap();
            on_data(|_, _| ()).on_made(move |transport| {
                resolver.callback(transport.peer_certificates());
                transport.lose_connection();
            })
        };
        let port = listen_tls(reactor, "127.0.0.1:0", strict_server(), factory).unwrap();
        let connects = connect_tls(reactor, at(&port), config, LONG, on_data(|_, _| ()));
        connects.add_callback(move |client| client.closed()).add_callback(|_| seen)
    });
    assert_eq!(seen.unwrap().unwrap(), [sent]);
}

#[test]
fn a_client_without_the_required_certificate_is_disconnected_without_a_call() {
    let log = Log::default();
    let noted = log.clone();
    let reason = run_until(|reactor| {
        let factory = move |_| protocol(&noted, |_| Ok(()), |_, _| Ok(()));
        let port = listen_tls(reactor, "127.0.0.1:0", strict_server(), factory).unwrap();
        // In TLS 1.3 the client's part of the handshake is complete before the server has refused it.
        connect_tls(reactor, at(&port), trusting(), LONG, on_data(|_, _| ())).add_callback(|client| client.closed())
    });
    let reason = reason.unwrap().to_string();
    assert!(reason.contains("CertificateRequired"), "{reason}");
    assert!(log.take().is_empty());
}

/// Runs a server whose client `talk` is a thread. Returns the server's log.
fn served(talk: impl FnOnce(TcpStream) + Send + 'static) -> Vec<String> {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let factory = move |_| protocol(&noted, |_| Ok(()), |_, _| Ok(()));
        let port = listen_tls(reactor, "127.0.0.1:0", server(), factory).unwrap();
        let talks = client(port.local_addr().unwrap(), talk);
        let reactor = reactor.clone();
        inline_callbacks(async move {
            unblock(move || talks.join().unwrap()).await;
            while port.stats().accepted == 0 || !port.is_empty() {
                reactor.sleep(MS).await?;
            }
            Ok(())
        })
    })
    .unwrap();
    log.take()
}

#[test]
fn an_end_that_was_not_announced_is_an_error() {
    let log = served(|socket| {
        let mut stream = rustls_client(socket, trusting());
        stream.write_all(b"half of").unwrap();
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap(); // as an attacker can
        let _ = read_to_end(&mut stream);
    });
    assert_eq!(log, ["made", "data half of", "lost: UnexpectedEof"]);
}

#[test]
fn an_end_in_the_handshake_calls_nothing() {
    assert!(served(drop).is_empty(), "a client that says nothing");
    let log = served(|mut socket| {
        let mut session = ClientConnection::new(trusting(), localhost()).unwrap();
        session.write_tls(&mut socket).unwrap();
        socket.read_exact(&mut [0; 5]).unwrap();
    });
    assert!(log.is_empty(), "a client that ends after its first message");
}

#[test]
fn data_that_is_not_tls_is_answered_with_an_alert() {
    let log = served(|mut socket| {
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert_eq!(answer[0], 21, "the type of an alert: {answer:?}");
    });
    assert!(log.is_empty());
}

#[test]
fn a_client_that_does_not_complete_the_handshake_is_disconnected() {
    without_driver(|pause| {
        let clock = Clock::new();
        net::install(&clock);
        let port = listen_tls(&clock, "127.0.0.1:0", server(), |_| Echo).unwrap();
        let mut socket = TcpStream::connect(port.local_addr().unwrap()).unwrap();
        while port.is_empty() {
            clock.advance(MS);
            pause(&clock);
        }
        let transport = port.connections().remove(0);
        clock.advance(29_000 * MS);
        assert!(transport.lost().is_none());
        clock.advance(1_000 * MS);
        assert!(matches!(transport.lost(), Some(ConnectionLost::TimedOut(_))), "{:?}", transport.lost());
        assert!(socket.read_to_end(&mut Vec::new()).is_ok());
    });
}

#[test]
fn a_port_that_shuts_down_ends_handshakes_too() {
    run_until(|reactor| {
        let port = listen_tls(reactor, "127.0.0.1:0", server(), |_| Echo).unwrap();
        let socket = TcpStream::connect(port.local_addr().unwrap()).unwrap();
        let reactor = reactor.clone();
        inline_callbacks(async move {
            while port.is_empty() {
                reactor.sleep(MS).await?;
            }
            assert_eq!(port.shut_down(LONG).await?, 0, "none was aborted");
            drop(socket);
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn a_peer_that_does_not_read_is_noticed() {
    let (unsent, reason) = run_until(|reactor| {
        let port = listen_tls(reactor, "127.0.0.1:0", server(), |_| on_data(|_, _| ())).unwrap();
        let talks = client(port.local_addr().unwrap(), |socket| {
            let mut stream = rustls_client(socket, trusting());
            stream.write_all(b"x").unwrap();
            stream
        });
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let stream = unblock(move || talks.join().unwrap()).await;
            while port.connections().first().is_none_or(|transport| !transport.is_tls()) {
                reactor.sleep(MS).await?;
            }
            let transport = port.connections().remove(0);
            transport.set_write_limit(1 << 20);
            let mut drained = transport.drained();
            while transport.lost().is_none() {
                transport.write(vec![7; 50_000]);
                if drained.peek().is_some() {
                    drained = transport.drained();
                }
                reactor.sleep(MS).await?;
                assert!(transport.unsent() < 2 << 20);
            }
            assert!(drained.await.is_err());
            drop(stream);
            Ok((transport.unsent(), transport.closed().await?))
        })
    })
    .unwrap();
    assert_eq!(unsent, 0);
    assert!(matches!(reason, ConnectionLost::TooSlow { .. }), "{reason}");
}

/// `openssl s_client`, if it is installed.
fn s_client(address: SocketAddr, arguments: &[&str], input: &str) -> Option<(String, String)> {
    use std::process::{Command, Stdio};
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", "localhost"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    for line in input.lines() {
        thread::sleep(200 * MS); // its commands are lines that arrive alone
        let _ = writeln!(stdin, "{line}"); // it may have ended
    }
    thread::sleep(200 * MS);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Some((String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into()))
}

#[test]
fn openssl_is_served_and_does_not_renegotiate() {
    let outputs = run_until(|reactor| {
        let echo = |_| on_line(|transport, line| transport.send_line([b"you said ", line].concat()));
        let port = listen_tls(reactor, "127.0.0.1:0", server(), echo).unwrap();
        let address = port.local_addr().unwrap();
        inline_callbacks(async move {
            let outputs = unblock(move || {
                let newest = s_client(address, &["-tls1_3"], "hello\nand again")?;
                let older = s_client(address, &["-tls1_2"], "hello")?;
                let renegotiates = s_client(address, &["-tls1_2"], "R\nhello")?;
                Some((newest, older, renegotiates))
            });
            Ok(outputs.await)
        })
    });
    let Some((newest, older, renegotiates)) = outputs.unwrap() else {
        return println!("openssl is not installed: the test did not run");
    };
    assert!(newest.0.contains("you said hello\r\nyou said and again"), "{newest:?}");
    assert!(older.0.contains("you said hello"), "{older:?}");
    let text = renegotiates.0 + &renegotiates.1;
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
}

type Event = fn(&Transport);

#[test]
fn a_write_in_the_handshake_hides_no_later_event() {
    without_driver(|pause| {
        let events: [(Event, &str); 3] = [
            (|transport| transport.abort_connection(), "aborted"),
            (|_| (), "the timeout of 30s"),
            (|transport| transport.set_timeout(Some(MS)), "the timeout of 1ms"),
        ];
        for (event, expected) in events {
            let clock = Clock::new();
            net::install(&clock);
            let port = listen_tls(&clock, "127.0.0.1:0", server(), |_| Echo).unwrap();
            let socket = TcpStream::connect(port.local_addr().unwrap()).unwrap();
            while port.is_empty() {
                clock.advance(MS);
                pause(&clock);
            }
            let transport = port.connections().remove(0);
            transport.write(b"bye");
            clock.advance(MS);
            event(&transport);
            clock.advance(30_000 * MS);
            let lost = transport.lost().map(|lost| lost.to_string());
            assert!(lost.as_ref().is_some_and(|lost| lost.contains(expected)), "{expected}: {lost:?}");
            drop(socket);
        }
    });
}

#[test]
fn a_factory_that_panics_closes_its_connection_at_once() {
    let reports = Reports::collect();
    run_until(|reactor| {
        let endpoint = ServerEndpoint::tcp("127.0.0.1:0").tls(server());
        let port = endpoint.listen(reactor, |transport| -> Echo {
            // A circle, which would keep the connection.
            transport.register_producer(transport.clone());
            panic!("no")
        });
        let talks = client(port.unwrap().local_addr().unwrap(), |mut socket| socket.read_to_end(&mut Vec::new()));
        spawn(async move { Ok(unblock(move || talks.join().unwrap()).await?) })
    })
    .unwrap();
    assert_eq!(reports.take().len(), 1);
}

#[test]
fn a_factory_can_write_and_close() {
    let received = run_until(|reactor| {
        let endpoint = ServerEndpoint::tcp("127.0.0.1:0").tls(server());
        let port = endpoint.listen(reactor, |transport| {
            transport.write("busy");
            transport.lose_connection();
            Echo
        });
        let talks =
            client(port.unwrap().local_addr().unwrap(), |socket| read_to_end(&mut rustls_client(socket, trusting())));
        spawn(async move { Ok(unblock(move || talks.join().unwrap()).await?) })
    });
    assert_eq!(received.unwrap(), b"busy");
}
