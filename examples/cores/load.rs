//! The clients: blocking sockets in a thread for each core.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use deferred_mio::Failure;

/// The length of a request.
const LENGTH: usize = 32;

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// Sends requests on all connections and checks the answers. Returns their number, and the time.
pub(crate) fn ask(server: SocketAddr, connections: usize, requests: usize) -> Result<(usize, Duration), Failure> {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let begun = Instant::now();
    let answers = thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|thread| (0..connections).filter(|n| n % threads == thread).count())
            .map(|connections| scope.spawn(move || ask_here(server, connections, requests)))
            .collect();
        let join = |client: thread::ScopedJoinHandle<'_, io::Result<usize>>| match client.join() {
            Ok(answers) => Ok(answers?),
            Err(_) => Err(Failure::msg("a client has panicked")),
        };
        clients.into_iter().map(join).sum::<Result<usize, Failure>>()
    });
    Ok((answers?, begun.elapsed()))
}

fn ask_here(server: SocketAddr, connections: usize, requests: usize) -> io::Result<usize> {
    let mut streams = (0..connections).map(|_| connect(server)).collect::<io::Result<Vec<_>>>()?;
    for n in 0..requests {
        let request = [n as u8; LENGTH];
        for stream in &mut streams {
            stream.write_all(&request)?;
        }
        for stream in &mut streams {
            let mut answer = [0; LENGTH];
            stream.read_exact(&mut answer)?;
            if answer != request {
                return Err(io::Error::other("the answer to another request"));
            }
        }
    }
    Ok(connections * requests)
}

/// Joins with all members, lets each say a line, and waits until each has received the lines of all.
/// Returns the number of received lines.
pub(crate) fn talk(server: SocketAddr, members: usize) -> Result<usize, Failure> {
    let mut streams = (0..members).map(|_| connect(server)).collect::<io::Result<Vec<_>>>()?;
    // A line of one's own that comes back shows that the member is in the room.
    let mut readers = Vec::new();
    for (n, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "hello from {n}")?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while line(&mut reader)? != format!("hello from {n}") {}
        readers.push(reader);
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "line of {n}")?;
    }
    let mut received = 0;
    for reader in &mut readers {
        let mut missing = members;
        while missing > 0 {
            if line(reader)?.starts_with("line of ") {
                missing -= 1;
                received += 1;
            }
        }
    }
    Ok(received)
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
