//! Configurations from PEM files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error_with_address;

/// Returns the configuration of a server with the certificates and the private key of PEM files.
/// Its clients need no certificate.
///
/// # Errors
///
/// Returns an error, which names the file, if a file cannot be read or has no such contents, and an
/// error if the key does not belong to the certificate.
///
/// # Panics
///
/// Panics if rustls has no cryptography provider: see [the module](crate::tls).
pub fn server_config(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Arc<ServerConfig>> {
    let (certificates, key) = (certificates.as_ref(), key.as_ref());
    let chain = read_certificates(certificates)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| error_with_address("use", certificates, io::Error::other(error)))
}

/// Returns the configuration of a client that trusts the certificates of a PEM file, or of each
/// file of a folder whose name ends with `.pem` or `.crt`.
///
/// A server's own certificate can be trusted unless it is marked as that of an authority, which
/// `openssl req -x509` does by default: add `-addext basicConstraints=critical,CA:FALSE`.
///
/// # Errors
///
/// Returns an error, which names the file or folder, if it cannot be read or has no certificate.
///
/// # Panics
///
/// Panics if rustls has no cryptography provider: see [the module](crate::tls).
pub fn client_config(trusted: impl AsRef<Path>) -> io::Result<Arc<ClientConfig>> {
    let trusted = trusted.as_ref();
    let mut roots = RootCertStore::empty();
    for file in files(trusted).map_err(|error| error_with_address("read", trusted, error))? {
        for certificate in read_certificates(&file)? {
            roots.add(certificate).map_err(|error| error_with_address("use", &file, io::Error::other(error)))?;
        }
    }
    if roots.is_empty() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "there is no certificate");
        return Err(error_with_address("use", trusted, error));
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

fn files(trusted: &Path) -> io::Result<Vec<PathBuf>> {
    if !trusted.is_dir() {
        return Ok(vec![trusted.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in trusted.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pem" || extension == "crt") {
            files.push(path);
        }
    }
    Ok(files)
}

fn read_certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unreadable(file, error))?;
    if certificates.is_empty() {
        return Err(unreadable(file, pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: pem::Error) -> io::Error {
    let error = match error {
        pem::Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    };
    error_with_address("read", file, error)
}
