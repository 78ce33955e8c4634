//! The chat's test clients: a thousand in ten rooms, and three in a room of their own.

use std::cell::Cell;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use deferred_examples::Story;
use deferred_smol::net::{LineProtocol, Lines, Transport, connect_tcp};
use deferred_smol::{
    Deferred, Failure, Reactor, RemoteResolver, Resolver, concurrent, gather, inline_callbacks, run_until,
};

const ROOMS: usize = 10;
const IN_A_ROOM: usize = 100;
const LINES_EACH: usize = 5;
/// The number of lines that each client receives from the others in its room.
const LINES_RECEIVED: usize = (IN_A_ROOM - 1) * LINES_EACH;
/// The number of lines that the speaker sends to the room in which one client never reads, and
/// their length.
const SPEECH: usize = 300;
const LINE: usize = 60_000;
/// The speaker pauses when the listener has received more than this many lines fewer than it sent.
/// The client that never reads falls behind by all of them.
const MAX_LAG: usize = 10;
const CORNER: &str = "corner";
const TIMEOUT: Duration = Duration::from_secs(15);

/// Counters that all clients share.
#[derive(Default)]
struct Counts {
    /// Lines received in the ten rooms.
    received: Cell<usize>,
    /// Lines received in the corner.
    speech: Cell<usize>,
    notified: Cell<usize>,
    removed: Cell<usize>,
}

struct Client {
    name: String,
    room: String,
    counts: Rc<Counts>,
    joined: Option<Resolver<()>>,
    /// The resolver to fire when the client has received that number of lines.
    received_all: Option<(usize, Resolver<()>)>,
    received: usize,
}

impl LineProtocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(format!("{}\n/join {}\n", self.name, self.room).as_bytes());
        Ok(())
    }

    fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
        let Some(notice) = line.strip_prefix(b"* ") else {
            self.received += 1;
            let received = if self.room == CORNER { &self.counts.speech } else { &self.counts.received };
            received.set(received.get() + 1);
            if let Some((_, resolver)) = self.received_all.take_if(|(lines, _)| *lines == self.received) {
                resolver.callback(());
            }
            return Ok(());
        };
        let notice = std::str::from_utf8(notice)?;
        if notice.starts_with(&format!("you are in {}", self.room)) {
            self.joined.take().into_iter().for_each(|resolver| resolver.callback(()));
        } else if notice == "the chat closes, goodbye" {
            self.counts.notified.set(self.counts.notified.get() + 1);
        } else if notice.ends_with("does not read") {
            self.counts.removed.set(self.counts.removed.get() + 1);
        }
        Ok(())
    }
}

/// Connects one client. The first Deferred returns its transport when the client is in its room;
/// the second fires when the client has received `lines` lines.
fn join(
    reactor: &Reactor,
    server: SocketAddr,
    counts: &Rc<Counts>,
    (name, room): (String, String),
    lines: usize,
) -> (Deferred<Transport>, Deferred<()>) {
    let (joined, resolver) = Deferred::new();
    let (received_all, resolve_received) = Deferred::new();
    let client = Client {
        name,
        room,
        counts: counts.clone(),
        joined: Some(resolver),
        received_all: Some((lines, resolve_received)),
        received: 0,
    };
    let connects = connect_tcp(reactor, server, TIMEOUT, Lines::new(client).max_length(2 * LINE));
    (connects.add_callback(move |transport| joined.map(move |()| transport)), received_all)
}

/// Runs the clients, fires `done` when they have finished, and returns when the server has closed
/// all connections.
pub(crate) fn run(server: SocketAddr, done: RemoteResolver<()>, story: Story) -> Result<(), Failure> {
    let counts = Rc::new(Counts::default());
    let seen = counts.clone();
    run_until(move |reactor| play(reactor.clone(), server, seen, done, story))?;
    story.say(format_args!("clients that received the goodbye: {}", counts.notified.get()));
    Ok(())
}

fn play(
    reactor: Reactor,
    server: SocketAddr,
    counts: Rc<Counts>,
    done: RemoteResolver<()>,
    story: Story,
) -> Deferred<()> {
    inline_callbacks(async move {
        // A thousand clients connect, fifty at a time.
        let (joins, loops) = (counts.clone(), reactor.clone());
        let clients = concurrent(50).map(0..ROOMS * IN_A_ROOM, move |n| {
            let names = (format!("client-{n}"), format!("room-{}", n % ROOMS));
            let (joined, received) = join(&loops, server, &joins, names, LINES_RECEIVED);
            joined.map(move |transport| (transport, received))
        });
        let (transports, received_all): (Vec<_>, Vec<_>) = clients.await?.into_iter().unzip();
        story.say(format_args!("{} clients are in {ROOMS} rooms", transports.len()));

        // In a room of their own: a client that never reads, one that listens, and one that sends a
        // lot.
        let mut never_reads = TcpStream::connect(server)?;
        never_reads.write_all(b"statue\n/join corner\n")?;
        let listener = ("listener".to_owned(), CORNER.to_owned());
        let (listener, heard_speech) = join(&reactor, server, &counts, listener, SPEECH);
        let (speaker, unused) = join(&reactor, server, &counts, ("speaker".to_owned(), CORNER.to_owned()), 0);
        let (listener, speaker) = (listener.await?, speaker.await?);
        drop(unused.add_errback(|_| Ok(())));

        // All clients send at once.
        let started_at = Instant::now();
        for transport in &transports {
            for n in 1..=LINES_EACH {
                transport.write(format!("this is the line number {n}\n").as_bytes());
            }
        }
        let (loops, seen, speech) = (reactor.clone(), counts.clone(), speaker.clone());
        let speaking = inline_callbacks(async move {
            let line = [&[b'a'; LINE][..], b"\n"].concat();
            for sent in 1..=SPEECH {
                speech.write(&line);
                while sent - seen.speech.get() > MAX_LAG {
                    loops.sleep(Duration::from_millis(1)).await?;
                }
            }
            Ok(())
        });
        gather(received_all).map_err(Failure::from).add_timeout(TIMEOUT, &reactor).await?;
        let took = started_at.elapsed();
        speaking.add_timeout(TIMEOUT, &reactor).await?;
        heard_speech.add_timeout(TIMEOUT, &reactor).await?;
        let received = counts.received.get();
        story.say(format_args!(
            "each client received the lines of the {} others in its room: {received} lines",
            IN_A_ROOM - 1
        ));
        story.say(format_args!("{:.0} lines per second", received as f64 / took.as_secs_f64()));
        story.say(format_args!("the listener received all {SPEECH} lines of the speech"));
        story.say(format_args!(
            "a client that does not read was disconnected; {} clients were notified",
            counts.removed.get()
        ));

        done.callback(());
        let closed = transports.iter().chain([&listener, &speaker]).map(Transport::closed);
        gather(closed.collect::<Vec<_>>()).map_err(Failure::from).add_timeout(TIMEOUT, &reactor).await?;
        drop(never_reads);
        Ok(())
    })
}
