//! TLS connections to servers that this system trusts.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::NO_CA_CERTIFICATES;

/// Opens TLS connections.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    trusts_some: bool,
}

impl TlsClient {
    /// What opens connections to servers that these certificates vouch for.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(roots: RootCertStore) -> Result<Self, String> {
        let trusts_some = !roots.is_empty();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|failed| failed.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), trusts_some })
    }

    /// Makes a TLS connection of a stream to the host of this name.
    ///
    /// # Errors
    /// One line that says why there is none.
    pub async fn connect<S>(&self, host: String, stream: S) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.trusts_some {
            return Err(format!("TLS: {NO_CA_CERTIFICATES}"));
        }
        let name = ServerName::try_from(host).map_err(|_| "the host has no valid name")?;
        self.connector.connect(name, stream).await.map_err(|failed| format!("TLS: {failed}"))
    }
}

/// The certificates that this system trusts. There may be none.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_certificates_the_error_names_what_to_install() {
        let (stream, _other) = tokio::io::duplex(1);
        let client = TlsClient::new(RootCertStore::empty()).unwrap();
        let refused = client.connect("example.com".to_owned(), stream).await.map(drop);
        assert!(refused.is_err_and(|why| why.contains("install the package ca-certificates")));
    }
}
