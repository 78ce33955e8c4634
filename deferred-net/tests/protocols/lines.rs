//! Lines: other delimiters, raw data, and limits of time.

use deferred_core::{Clock, Failure};
use deferred_net::testing::StringTransport;
use deferred_net::{ConnectionLost, LineProtocol, Lines, Transport, on_line};

use super::{Log, SECOND, text};

#[test]
fn a_delimiter_of_several_bytes_is_found_across_reads() {
    for delimiter in ["\0", "\r\n", "--", "aab"] {
        for size in 1..6 {
            let (clock, log) = (Clock::new(), Log::default());
            let noted = log.clone();
            let peer =
                StringTransport::connect(&clock, on_line(move |_, line| noted.note(text(line))).delimiter(delimiter));
            let sent = ["one", "", "a-a", "aa", "end"].map(|line| format!("{line}{delimiter}")).concat() + "rest";
            for piece in sent.as_bytes().chunks(size) {
                peer.receive(piece);
            }
            assert_eq!(log.take(), sent.split(delimiter).take(sent.matches(delimiter).count()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_line_of_the_maximum_length_with_a_long_delimiter_is_accepted_in_any_pieces() {
    for size in 1..8 {
        let (clock, log) = (Clock::new(), Log::default());
        let noted = log.clone();
        let lines = on_line(move |_, line| noted.note(text(line))).delimiter("<end>").max_length(4);
        let peer = StringTransport::connect(&clock, lines);
        for piece in b"four<end>five!<end>four<end>".chunks(size) {
            peer.receive(piece);
        }
        assert_eq!(log.take(), ["four"], "pieces of {size}");
        assert!(peer.is_closing());
    }
}

#[test]
#[should_panic(expected = "at least one byte")]
fn an_empty_delimiter_is_refused() {
    drop(on_line(|_, _| ()).delimiter(""));
}

/// Takes the number of raw bytes from each line.
struct Raw(Log);

impl LineProtocol for Raw {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        self.0.note(format!("line {}", text(line)));
        if let Ok(length) = text(line).parse() {
            transport.set_raw_mode(length);
        }
        Ok(())
    }

    fn raw_data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.note(format!("raw {}", text(data)));
        if data.ends_with(b"!") {
            transport.set_raw_mode(0);
        }
        if data.ends_with(b"?") {
            transport.pause_producing();
        }
        Ok(())
    }
}

#[test]
fn raw_data_has_the_announced_length_in_any_pieces() {
    let sent = "4\r\n\r\n\r\nword\r\n0\r\nmore\r\n";
    for size in 1..sent.len() {
        let (clock, log) = (Clock::new(), Log::default());
        let peer = StringTransport::connect(&clock, Lines::new(Raw(log.clone())));
        for piece in sent.as_bytes().chunks(size) {
            peer.receive(piece);
        }
        let log = log.take();
        let raw: String = log.iter().filter_map(|it| it.strip_prefix("raw ")).collect();
        assert_eq!(raw, "\r\n\r\n", "pieces of {size}");
        let lines: Vec<_> = log.iter().filter_map(|it| it.strip_prefix("line ")).collect();
        assert_eq!(lines, ["4", "word", "0", "more"], "pieces of {size}");
    }
}

#[test]
fn raw_mode_can_end_early_or_never() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Lines::new(Raw(log.clone())));
    peer.receive(format!("{}\r\n", u64::MAX));
    peer.receive("all\r\nof ");
    peer.receive("this!");
    peer.receive("a line\r\n");
    assert_eq!(log.take()[1..], ["raw all\r\nof ", "raw this!", "line a line"]);
}

#[test]
fn a_pause_in_raw_mode_keeps_what_follows() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Lines::new(Raw(log.clone())));
    peer.receive("2\r\na?next\r\n");
    assert_eq!(log.take(), ["line 2", "raw a?"]);
    peer.resume_producing();
    peer.flush();
    assert_eq!(log.take(), ["line next"]);
}

#[test]
fn a_line_that_trickles_ends_the_connection_and_silence_between_lines_does_not() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_line(|_, _| ()).line_timeout(10 * SECOND));
    clock.advance(100 * SECOND);
    peer.receive("complete\n");
    clock.advance(100 * SECOND);
    for _ in 0..9 {
        peer.receive("x");
        clock.advance(SECOND);
    }
    assert!(peer.lost().is_none());
    // The end of this line is the start of the next one.
    peer.receive("\nthe next");
    clock.advance(9 * SECOND);
    assert!(peer.lost().is_none(), "the time of the next line began with it");
    clock.advance(SECOND);
    peer.flush();
    assert!(matches!(peer.lost(), Some(ConnectionLost::TimedOut(limit)) if limit == 10 * SECOND), "{:?}", peer.lost());
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn time_in_a_pause_does_not_count_for_a_line() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_line(|_, _| ()).line_timeout(10 * SECOND));
    peer.receive("half");
    peer.pause_producing();
    clock.advance(100 * SECOND);
    peer.flush();
    assert!(peer.lost().is_none());
    peer.resume_producing();
    peer.flush();
    clock.advance(9 * SECOND);
    assert!(peer.lost().is_none());
    clock.advance(SECOND);
    peer.flush();
    assert!(peer.lost().is_some(), "the rest of the line has not come");
}

#[test]
fn a_protocol_of_lines_can_survive_the_end_of_its_peer() {
    struct Answers;
    impl LineProtocol for Answers {
        fn line_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }

        fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.send_line("goodbye");
            Ok(())
        }
    }
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, Lines::new(Answers));
    peer.end();
    assert!(peer.lost().is_none());
    assert_eq!(peer.value(), b"goodbye\r\n");
    peer.lose_connection();
    peer.flush();
    assert!(matches!(peer.lost(), Some(ConnectionLost::Done)));
}

#[test]
fn nothing_is_delivered_after_an_abort() {
    let (clock, log) = (Clock::new(), Log::default());
    let noted = log.clone();
    let lines = on_line(move |transport, line| {
        noted.note(text(line));
        transport.abort_connection();
        assert!(transport.is_closing());
    });
    let peer = StringTransport::connect(&clock, lines);
    peer.receive("a\r\nb\r\nc\r\n");
    assert_eq!(log.take(), ["a"]);
    assert!(matches!(peer.lost(), Some(ConnectionLost::Aborted)));
}

#[test]
fn raw_mode_from_outside_of_a_callback_applies_to_what_has_arrived() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Lines::new(Raw(log.clone())));
    peer.receive("a header\r\nbody");
    assert_eq!(log.take(), ["line a header"]);
    peer.set_raw_mode(4);
    peer.flush();
    assert_eq!(log.take(), ["raw body"]);
}

#[test]
fn half_a_line_does_not_limit_the_answer_to_a_peer_that_has_ended() {
    struct Answers;
    impl LineProtocol for Answers {
        fn line_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
            transport.write("a long answer");
            Ok(())
        }
    }
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, Lines::new(Answers).line_timeout(SECOND));
    peer.set_reading(false);
    peer.receive("a question\nhalf");
    peer.end();
    clock.advance(10 * SECOND);
    peer.flush();
    assert!(peer.lost().is_none(), "{:?}", peer.lost());
    peer.set_reading(true);
    assert_eq!(peer.value(), b"a long answer");
    assert!(matches!(peer.lost(), Some(ConnectionLost::Done)));
}
