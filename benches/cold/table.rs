//! The table: the embedded DynamoDB behind TLS, with one user in it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::dev::embedded::Embedded;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::store::call::Table;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::Client;

/// What the table is called.
pub const TABLE: &str = "rollcall";
/// Where a system may keep the certificates that it trusts: Debian, then Amazon Linux.
const TRUSTED: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The table, and what a function needs to reach it.
pub struct TlsTable {
    /// Its URL.
    pub endpoint: String,
    /// The certificates that the system trusts, and that of the table.
    pub certificates: PathBuf,
    /// The tenant of the user.
    pub tenant: String,
    /// The id of the user.
    pub user: String,
    _embedded: Embedded,
}

impl TlsTable {
    /// Starts it. A function loads as many certificates as on Lambda, since it is given those of this system.
    pub async fn start(folder: &Path) -> Self {
        let embedded = Embedded::start(None, 0).await.expect("a table");
        let facts = TemplateFacts::parse(TEMPLATE).expect("the template").table;
        embedded.ensure_table(TABLE, &facts).await.expect("a table");
        let client = Client::new(Table::new(embedded.client.clone(), TABLE), "veza").await;
        let user = client.user("anna").await;
        let document = client.get(&format!("/Users/{user}")).await.body.to_string();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = embedded.client.put_item().table_name(TABLE).item("pk", text("BARE"));
        put.item("sk", text("BARE")).item("doc", text(&document)).send().await.expect("an item");
        let endpoint = serve_tls(&embedded.endpoint).await;
        let certificates = folder.join("certificates.pem");
        let system = TRUSTED.iter().find_map(|file| std::fs::read_to_string(file).ok());
        let system = system.expect("the package ca-certificates is installed");
        let all = format!("{system}\n{}", include_str!("../../tests/tls/certificate.pem"));
        std::fs::write(&certificates, all).expect("a file of certificates");
        Self { endpoint, certificates, tenant: client.tenant, user, _embedded: embedded }
    }
}

/// Passes what comes over TLS on to the table; its URL.
async fn serve_tls(table: &str) -> String {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../tests/tls/certificate.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tests/tls/key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.expect("a certificate")], key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let endpoint = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let table = table.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, table) = (acceptor.clone(), table.clone());
            tokio::spawn(async move {
                // A connection ends when the process of the function is killed.
                let _ = pass_on(stream, &acceptor, &table).await;
            });
        }
    });
    endpoint
}

async fn pass_on(stream: TcpStream, acceptor: &TlsAcceptor, table: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outer = acceptor.accept(stream).await?;
    let mut inner = TcpStream::connect(table).await?;
    inner.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outer, &mut inner).await?;
    Ok(())
}
