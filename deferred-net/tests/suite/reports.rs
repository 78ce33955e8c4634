//! Reports of errors of connections, and lists of pending connections.

use std::cell::RefCell;
use std::rc::Rc;

use crate::adapter::net::{Protocol, Transport, connect_tcp, listen_tcp};
use crate::adapter::{Failure, inline_callbacks, inspect, on_unhandled, run_until};

use super::{LONG, MS};

#[test]
fn an_error_of_a_callback_names_its_line_the_protocol_and_the_connection() {
    struct Fails;

    impl Protocol for Fails {
        fn connection_made(&mut self, _: &Transport) -> Result<(), Failure> {
            "x".parse::<u32>()?; // PARSE
            Ok(())
        }

        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    let line = include_str!("reports.rs").lines().position(|line| line.ends_with("// PARSE")).unwrap() + 1;
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| sink.borrow_mut().push(unhandled.to_string()));
    let (mut listens, mut connects) = (0, 0);
    run_until(|reactor| {
        listens = line!() + 1;
        let port = listen_tcp(reactor, "127.0.0.1:0", |_| Fails).unwrap();
        let reactor = reactor.clone();
        connects = line!() + 1;
        connect_tcp(&reactor, port.local_addr().unwrap(), LONG, Fails).add_both(move |_| {
            inline_callbacks(async move {
                while port.stats().accepted == 0 || !port.is_empty() {
                    reactor.sleep(MS).await?;
                }
                Ok(())
            })
        })
    })
    .unwrap();
    let reports = reports.take();
    for at in [listens, connects] {
        let of_that = reports.iter().filter(|report| report.contains(&format!("{}:{at}:", file!())));
        assert_eq!(of_that.count(), 1, "line {at}: {reports:#?}");
    }
    for report in &reports {
        assert!(report.contains(&format!("made at {}:{line}:", file!())), "line {line}: {report}");
        assert!(report.contains("Fails failed: invalid digit"), "{report}");
        assert!(!report.contains("/src/"), "{report}");
    }
}

#[test]
fn a_connection_is_listed_with_its_protocol_and_its_peer() {
    struct Silent;

    impl Protocol for Silent {
        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    let _on = inspect::enable();
    run_until(|reactor| {
        let port = listen_tcp(reactor, "127.0.0.1:0", |_| Silent).unwrap();
        let address = port.local_addr().unwrap();
        let connects = line!() + 1;
        let connected = connect_tcp(reactor, address, LONG, Silent);
        let reactor = reactor.clone();
        connected.add_callback(move |transport| {
            let text = reactor.pending().to_string();
            let here = format!("connection made at {}:{connects}:", file!());
            let line = text.lines().find(|line| line.starts_with(&here)).unwrap_or_else(|| panic!("{text}"));
            assert!(line.ends_with(&format!("Silent with {address}, 0 bytes unsent")), "{line}");
            transport.lose_connection();
            port.stop_listening()
        })
    })
    .unwrap();
}
