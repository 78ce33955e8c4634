//! The creation of listening sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};

use super::error::error_with_address;

/// The default of [`ServerEndpoint::backlog`](super::ServerEndpoint::backlog).
const BACKLOG: i32 = 1024;

/// The options of a listening socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct BindOptions {
    pub(super) backlog: i32,
    pub(super) reuse_port: bool,
    /// The permissions of the file of a Unix socket.
    #[cfg(unix)]
    pub(super) mode: Option<u32>,
}

impl Default for BindOptions {
    fn default() -> BindOptions {
        BindOptions {
            backlog: BACKLOG,
            reuse_port: false,
            #[cfg(unix)]
            mode: None,
        }
    }
}

/// Creates a listening socket at the first address of a name that works.
///
/// # Errors
///
/// Returns the error of the lookup or of the last address. Its text includes `address`.
pub(super) fn bind_tcp(
    address: &(impl ToSocketAddrs + fmt::Debug + ?Sized),
    options: BindOptions,
) -> io::Result<TcpListener> {
    let bound = bind_first(address, |address| bind_tcp_address(address, options));
    bound.map_err(|error| error_with_address("listen on", address, error))
}

/// Tries the addresses of a name one after the other, until `bind` succeeds: for adapters.
///
/// # Errors
///
/// Returns the error of the lookup or of the last address.
#[doc(hidden)]
pub fn bind_first<T>(
    address: &(impl ToSocketAddrs + ?Sized),
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn bind_tcp_address(address: SocketAddr, options: BindOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    // On Windows this option has another meaning: two sockets could listen on one address.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        reuse_port(&socket)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system cannot share an address between sockets"))
}

/// The file of a Unix socket, which is removed on drop, unless another one has taken its place.
#[cfg(unix)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and the number of the file.
    identity: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    pub(super) fn of(path: &Path) -> Option<SocketFile> {
        // From the root, since the program may change its folder.
        let path = std::path::absolute(path).ok()?;
        Some(SocketFile { identity: identity(&path)?, path })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            let _ = std::fs::remove_file(&self.path); // an error changes nothing for the program
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Creates a listening Unix socket.
///
/// # Errors
///
/// Returns an error whose text includes `path`.
#[cfg(unix)]
pub(super) fn bind_unix(path: &Path, options: BindOptions) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        let file = SocketFile::of(path);
        if let Some(mode) = options.mode {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        socket.listen(options.backlog)?;
        Ok((socket.into(), file))
    };
    bind().map_err(|error| error_with_address("listen on", path, error))
}
