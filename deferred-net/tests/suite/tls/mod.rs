//! TLS: handshakes, certificates, ends, and the start in the middle of a connection.

mod connections;
mod start;

use std::sync::{Arc, LazyLock};

use deferred_net::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use deferred_net::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The certificates of the tests.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
});

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

fn server_with((certificates, key): Identity) -> ServerConfig {
    ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap()
}

fn server() -> Arc<ServerConfig> {
    let mut config = server_with(AUTHORITY.issue("localhost", |_| ()));
    config.alpn_protocols = vec![b"second".to_vec(), b"first".to_vec()];
    Arc::new(config)
}

fn trusting() -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder().with_root_certificates(AUTHORITY.roots()).with_no_client_auth();
    config.alpn_protocols = vec![b"first".to_vec(), b"unknown".to_vec()];
    Arc::new(config)
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}
