//! Frames with a length in front.

use std::io::ErrorKind;

use deferred_core::{Clock, Failure};
use deferred_net::testing::StringTransport;
use deferred_net::{ConnectionLost, FrameProtocol, Framed, Framing, Transport};

use super::{Log, text};

const ALL: [Framing; 4] = [Framing::Int8, Framing::Int16, Framing::Int32, Framing::Netstring];

/// Logs its frames. `pause` pauses reading, and `close` closes.
struct Logs(Log);

impl FrameProtocol for Logs {
    fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure> {
        self.0.note(text(frame));
        match frame {
            b"pause" => transport.pause_producing(),
            b"close" => transport.lose_connection(),
            _ => {}
        }
        Ok(())
    }
}

/// Returns the bytes that a program sends for frames.
fn encoded(framing: Framing, frames: &[&str]) -> Vec<u8> {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, Framed::new(framing, Logs(Log::default())));
    for frame in frames {
        framing.send(&peer, frame).unwrap();
    }
    peer.flush();
    peer.take_value()
}

#[test]
fn the_formats_are_those_of_twisted() {
    assert_eq!(encoded(Framing::Int8, &["hello", ""]), b"\x05hello\0");
    assert_eq!(encoded(Framing::Int16, &["hello", ""]), b"\0\x05hello\0\0");
    assert_eq!(encoded(Framing::Int32, &["hello", ""]), b"\0\0\0\x05hello\0\0\0\0");
    assert_eq!(encoded(Framing::Netstring, &["hello", ""]), b"5:hello,0:,");
}

#[test]
fn frames_arrive_in_any_pieces() {
    for framing in ALL {
        let long = "0123456789".repeat(25);
        let frames = ["one", "", &long, ":,", "end"];
        let sent = encoded(framing, &frames);
        for size in [1, 2, 3, 7, 100, sent.len()] {
            let (clock, log) = (Clock::new(), Log::default());
            let peer = StringTransport::connect(&clock, Framed::new(framing, Logs(log.clone())));
            sent.chunks(size).for_each(|piece| peer.receive(piece));
            assert_eq!(log.take(), frames, "{framing:?} in pieces of {size}");
        }
    }
}

#[test]
fn a_pause_and_a_close_keep_later_frames_back() {
    for framing in ALL {
        let (clock, log) = (Clock::new(), Log::default());
        let peer = StringTransport::connect(&clock, Framed::new(framing, Logs(log.clone())));
        peer.receive(encoded(framing, &["one", "pause", "two", "pause", "close", "three"]));
        assert_eq!(log.take(), ["one", "pause"]);
        for expected in [&["two", "pause"][..], &["close"], &[]] {
            peer.resume_producing();
            peer.flush();
            assert_eq!(log.take(), expected);
        }
    }
}

/// Returns the reason for which data loses a connection with frames of up to 100 bytes.
fn refused(framing: Framing, data: &[u8]) -> Option<String> {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Framed::new(framing, Logs(log.clone())).max_length(100));
    peer.receive(data);
    assert!(log.take().is_empty());
    match peer.lost()? {
        ConnectionLost::Io(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            Some(error.to_string())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_frame_that_is_too_long_ends_the_connection_before_it_is_buffered() {
    for (framing, data) in [
        (Framing::Int8, &b"\x65"[..]),
        (Framing::Int16, b"\0\x65"),
        (Framing::Int32, b"\xff\xff\xff\xff"),
        (Framing::Netstring, b"101"),
        (Framing::Netstring, b"99999999999999999999999999"),
    ] {
        let text = refused(framing, data).unwrap();
        assert!(text.contains("exceeds the maximum of 100"), "{text}");
    }
    assert_eq!(refused(Framing::Int8, b"\x64"), None);
    assert_eq!(refused(Framing::Netstring, b"100"), None);
}

#[test]
fn data_that_is_no_netstring_ends_the_connection() {
    for data in ["x", ":", "05:hello,", "5;hello,", "5:hello!", "-1:x,"] {
        let text = refused(Framing::Netstring, data.as_bytes());
        assert!(text.is_some_and(|text| text.contains("netstring")), "{data:?}");
    }
    assert_eq!(refused(Framing::Netstring, b"5:hell"), None);
}

#[test]
fn a_frame_that_the_format_cannot_express_is_not_sent() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, Framed::new(Framing::Int8, Logs(Log::default())));
    let error = Framing::Int8.send(&peer, [0; 256]).unwrap_err();
    assert_eq!(error.to_string(), "a frame of 256 bytes is too long: the format allows 255");
    assert!(Framing::Int16.send(&peer, [0; 65_536]).is_err());
    assert!(Framing::Int8.send(&peer, [0; 255]).is_ok());
    peer.flush();
    assert_eq!(peer.value().len(), 256);
}
