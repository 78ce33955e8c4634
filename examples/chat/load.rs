//! A thousand clients, and three more.

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
const EACH_SAYS: usize = 5;
/// What each hears: from the others.
const EACH_HEARS: usize = (IN_A_ROOM - 1) * EACH_SAYS;
/// What the talkative one says to the room with somebody who never reads, in lines of this length.
const SPEECH: usize = 300;
const LINE: usize = 60_000;
/// So many lines the listener may be behind; the one who does not read is behind by all.
const BEHIND: usize = 10;
const CORNER: &str = "corner";
const TIMEOUT: Duration = Duration::from_secs(15);

/// What all clients know together.
#[derive(Default)]
struct Counts {
    /// Lines that somebody has said,
    heard: Cell<usize>,
    /// and of those the ones in the corner.
    speech: Cell<usize>,
    told: Cell<usize>,
    left_out: Cell<usize>,
}

struct Client {
    name: String,
    room: String,
    counts: Rc<Counts>,
    joined: Option<Resolver<()>>,
    /// Fires when it has heard so many lines.
    hears: Option<(usize, Resolver<()>)>,
    heard: usize,
}

impl LineProtocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(format!("{}\n/join {}\n", self.name, self.room).as_bytes());
        Ok(())
    }

    fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
        let Some(notice) = line.strip_prefix(b"* ") else {
            self.heard += 1;
            let heard = if self.room == CORNER { &self.counts.speech } else { &self.counts.heard };
            heard.set(heard.get() + 1);
            if let Some((_, resolver)) = self.hears.take_if(|(lines, _)| *lines == self.heard) {
                resolver.callback(());
            }
            return Ok(());
        };
        let notice = std::str::from_utf8(notice)?;
        if notice.starts_with(&format!("you are in {}", self.room)) {
            self.joined.take().into_iter().for_each(|resolver| resolver.callback(()));
        } else if notice == "the chat closes, goodbye" {
            self.counts.told.set(self.counts.told.get() + 1);
        } else if notice.ends_with("does not read") {
            self.counts.left_out.set(self.counts.left_out.get() + 1);
        }
        Ok(())
    }
}

/// One client, whose transport comes when it is in its room, and what fires when it has heard so
/// many lines.
fn join(
    reactor: &Reactor,
    server: SocketAddr,
    counts: &Rc<Counts>,
    (name, room): (String, String),
    lines: usize,
) -> (Deferred<Transport>, Deferred<()>) {
    let (joined, resolver) = Deferred::new();
    let (hears, heard) = Deferred::new();
    let client =
        Client { name, room, counts: counts.clone(), joined: Some(resolver), hears: Some((lines, heard)), heard: 0 };
    let connects = connect_tcp(reactor, server, TIMEOUT, Lines::new(client).max_length(2 * LINE));
    (connects.add_callback(move |transport| joined.map(move |()| transport)), hears)
}

/// Plays the clients, says when they are done, and returns when the server has let them go.
pub(crate) fn run(server: SocketAddr, done: RemoteResolver<()>, story: Story) -> Result<(), Failure> {
    let counts = Rc::new(Counts::default());
    let seen = counts.clone();
    run_until(move |reactor| play(reactor.clone(), server, seen, done, story))?;
    story.say(format_args!("told of the end: {} clients", counts.told.get()));
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
        // A thousand come in, fifty at a time.
        let (joins, loops) = (counts.clone(), reactor.clone());
        let clients = concurrent(50).map(0..ROOMS * IN_A_ROOM, move |n| {
            let names = (format!("client-{n}"), format!("room-{}", n % ROOMS));
            let (joined, hears) = join(&loops, server, &joins, names, EACH_HEARS);
            joined.map(move |transport| (transport, hears))
        });
        let (transports, hears): (Vec<_>, Vec<_>) = clients.await?.into_iter().unzip();
        story.say(format_args!("{} clients are in {ROOMS} rooms", transports.len()));

        // One who never reads, one who listens and one who talks much, in a room of their own.
        let mut never_reads = TcpStream::connect(server)?;
        never_reads.write_all(b"statue\n/join corner\n")?;
        let listener = ("listener".to_owned(), CORNER.to_owned());
        let (listener, listens) = join(&reactor, server, &counts, listener, SPEECH);
        let (speaker, hears_nothing) = join(&reactor, server, &counts, ("speaker".to_owned(), CORNER.to_owned()), 0);
        let (listener, speaker) = (listener.await?, speaker.await?);
        drop(hears_nothing.add_errback(|_| Ok(())));

        // All talk at once.
        let begun = Instant::now();
        for transport in &transports {
            for n in 1..=EACH_SAYS {
                transport.write(format!("this is the line number {n}\n").as_bytes());
            }
        }
        let (loops, seen, speech) = (reactor.clone(), counts.clone(), speaker.clone());
        let speaks = inline_callbacks(async move {
            let line = [&[b'a'; LINE][..], b"\n"].concat();
            for said in 1..=SPEECH {
                speech.write(&line);
                while said - seen.speech.get() > BEHIND {
                    loops.sleep(Duration::from_millis(1)).await?;
                }
            }
            Ok(())
        });
        gather(hears).map_err(Failure::from).add_timeout(TIMEOUT, &reactor).await?;
        let took = begun.elapsed();
        speaks.add_timeout(TIMEOUT, &reactor).await?;
        listens.add_timeout(TIMEOUT, &reactor).await?;
        let heard = counts.heard.get();
        story.say(format_args!("each has heard what the {} others in the room said: {heard} lines", IN_A_ROOM - 1));
        story.say(format_args!("{:.0} lines per second", heard as f64 / took.as_secs_f64()));
        story.say(format_args!("the listener has heard the whole speech of {SPEECH} lines"));
        story.say(format_args!("one who does not read had to leave, as {} were told", counts.left_out.get()));

        done.callback(());
        let everyone = transports.iter().chain([&listener, &speaker]).map(Transport::closed);
        gather(everyone.collect::<Vec<_>>()).map_err(Failure::from).add_timeout(TIMEOUT, &reactor).await?;
        drop(never_reads);
        Ok(())
    })
}
