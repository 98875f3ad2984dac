//! Certificates of the TLS listeners: the user's own, or those of an authority of weir's.
//!
//! ```text
//!   <data>/tls/ca.key   the authority's private key, made once, readable by its owner alone
//!   <data>/tls/ca.pem   its certificate: what clients are told to trust
//! ```
//!
//! The authority signs a certificate for whatever name a client asks for, so that `localhost`, a
//! container's name and a name in /etc/hosts all work without a setting. Nothing of that is kept:
//! the key of the servers' certificates lives as long as the process. A new authority is written
//! before the broker is ready and made to last after that ([`Tls::keep`]), as a start does not wait
//! for a disk; one that a power cut takes away in between is made anew. Whoever can read `ca.key`
//! can pretend to be any server to those who trust `ca.pem`; so trust it for tests, for one client,
//! and not in a browser.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use tracing::warn;
use weir_model::time::{Clock, Timestamp};

use crate::private_file::check_private;

/// The folder in the data directory.
const FOLDER: &str = "tls";
const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY_CERTIFICATE: &str = "ca.pem";
/// What a person sees in a list of trusted authorities.
const AUTHORITY_NAME: &str = "weir local authority";

/// A certificate is used for so long; then the next client gets a new one.
const CERTIFICATE_USED_MAX_MS: i64 = 30 * DAY_MS;
/// And holds for so long. macOS believes none that holds for more than 825 days.
const CERTIFICATE_VALID_MS: i64 = 397 * DAY_MS;
/// How far a client's clock may be behind.
const CLOCK_SKEW_MS: i64 = DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Certificates that are kept at a time; a client that asks for ever new names makes weir sign.
const NAMES_MAX: usize = 100;

/// Which certificates to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Certificates {
    /// Those of an authority in the data directory, made there if it is missing.
    #[default]
    Local,
    /// A chain, the server's own certificate first, and its private key; both PEM.
    Files {
        /// The chain.
        chain: PathBuf,
        /// The key. Refused if others than its owner may read it.
        key: PathBuf,
    },
}

/// Why there is no TLS, in one sentence.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// What TLS listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    identity: Identity,
    /// The file that clients are to trust; none with certificates of the user's own.
    authority_file: Option<PathBuf>,
    protocols: Vec<Vec<u8>>,
    /// By the address that clients reach, each with the sessions that they may resume.
    configs: Arc<Mutex<BTreeMap<IpAddr, Arc<ServerConfig>>>>,
}

#[derive(Clone, Debug)]
enum Identity {
    Fixed(Arc<CertifiedKey>),
    Local(Arc<Authority>),
}

impl Tls {
    /// Reads the certificates, or makes the local authority, for listeners that speak one of
    /// `protocols` (ALPN). Blocks for two small files.
    pub(crate) fn open(
        certificates: &Certificates,
        data: &Path,
        protocols: &[&[u8]],
        clock: Arc<dyn Clock>,
    ) -> Result<Tls, TlsError> {
        let (identity, authority_file) = match certificates {
            Certificates::Files { chain, key } => {
                (Identity::Fixed(Arc::new(read_own(chain, key)?)), None)
            }
            Certificates::Local => {
                let folder = data.join(FOLDER);
                let authority = Authority::open(&folder, clock)?;
                let identity = Identity::Local(Arc::new(authority));
                (identity, Some(folder.join(AUTHORITY_CERTIFICATE)))
            }
        };
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Tls { identity, authority_file, protocols, configs: Arc::default() })
    }

    /// Makes a new authority last. Blocks for the disk.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let Some(folder) = self.authority_file().and_then(Path::parent) else { return Ok(()) };
        for name in [AUTHORITY_KEY, AUTHORITY_CERTIFICATE] {
            std::fs::File::open(folder.join(name))?.sync_all()?;
        }
        for directory in [Some(folder), folder.parent()].into_iter().flatten() {
            std::fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// The file that clients are to trust.
    pub(crate) fn authority_file(&self) -> Option<&Path> {
        self.authority_file.as_deref()
    }

    /// Takes connections to one of our addresses.
    pub(crate) fn acceptor(&self, local: SocketAddr) -> TlsAcceptor {
        let address = local.ip().to_canonical();
        let mut configs = self.configs.lock();
        let config = configs.entry(address).or_insert_with(|| Arc::new(self.config_at(address)));
        TlsAcceptor::from(Arc::clone(config))
    }

    fn config_at(&self, address: IpAddr) -> ServerConfig {
        let resolver: Arc<dyn ResolvesServerCert> = match &self.identity {
            Identity::Fixed(certified) => Arc::new(Fixed(Arc::clone(certified))),
            Identity::Local(authority) => {
                Arc::new(ForAddress { authority: Arc::clone(authority), address })
            }
        };
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = self.protocols.clone();
        config
    }
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Answers with a certificate for the name that the client asks for, or else for the address that
/// it has reached: clients name no addresses.
#[derive(Debug)]
struct ForAddress {
    authority: Arc<Authority>,
    address: IpAddr,
}

impl ResolvesServerCert for ForAddress {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_owned);
        let subject = name.map_or(Subject::Address(self.address), Subject::Name);
        let made = self.authority.certificate_for(subject);
        made.inspect_err(|error| warn!(%error, "a TLS client goes without an answer")).ok()
    }
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Name(String),
    Address(IpAddr),
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// That of all certificates that are made; gone with the process.
    server_key: KeyPair,
    clock: Arc<dyn Clock>,
    made: Mutex<BTreeMap<Subject, (Timestamp, Arc<CertifiedKey>)>>,
}

impl fmt::Debug for Authority {
    /// Without the keys.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authority").field("made", &self.made.lock().len()).finish()
    }
}

impl Authority {
    /// Opens the authority of this folder, or makes one. A certificate that is missing beside its
    /// key is made anew, and is as good as the one before to whoever has that.
    fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Authority, TlsError> {
        let key_file = folder.join(AUTHORITY_KEY);
        let kept = match std::fs::read_to_string(&key_file) {
            Ok(pem) if is_blank(&pem) => None,
            Ok(pem) => Some(pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("read", &key_file, &error)),
        };
        let is_new = kept.is_none();
        let key = match kept {
            Some(pem) => {
                check_private(&key_file).map_err(|why| unusable(&key_file, &why))?;
                KeyPair::from_pem(&pem).map_err(|error| unusable(&key_file, &error))?
            }
            None => {
                let key = new_key()?;
                let write = std::fs::create_dir_all(folder)
                    .and_then(|()| write_whole(&key_file, &key.serialize_pem(), Readers::Owner));
                write.map_err(|error| cannot("write", &key_file, &error))?;
                key
            }
        };
        let parameters = authority_parameters();
        let certificate_file = folder.join(AUTHORITY_CERTIFICATE);
        let is_there = std::fs::read_to_string(&certificate_file).is_ok_and(|pem| !is_blank(&pem));
        if is_new || !is_there {
            let certificate =
                parameters.self_signed(&key).map_err(|error| no_certificate(&error))?;
            write_whole(&certificate_file, &certificate.pem(), Readers::All)
                .map_err(|error| cannot("write", &certificate_file, &error))?;
        }
        let issuer = Issuer::new(parameters, key);
        Ok(Authority { issuer, server_key: new_key()?, clock, made: Mutex::default() })
    }

    /// A certificate for this name or address, made now or a while ago.
    fn certificate_for(&self, subject: Subject) -> Result<Arc<CertifiedKey>, TlsError> {
        let now = self.clock.now();
        let mut made = self.made.lock();
        if let Some((at, certified)) = made.get(&subject)
            && now.millis_since(*at) < CERTIFICATE_USED_MAX_MS
        {
            return Ok(Arc::clone(certified));
        }
        let certified = Arc::new(self.make(&subject, now)?);
        if made.len() >= NAMES_MAX {
            made.clear();
        }
        made.insert(subject, (now, Arc::clone(&certified)));
        Ok(certified)
    }

    fn make(&self, subject: &Subject, now: Timestamp) -> Result<CertifiedKey, TlsError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "weir");
        parameters.subject_alt_names = alternative_names(subject)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = date(now.plus_millis(-CLOCK_SKEW_MS));
        parameters.not_after = date(now.plus_millis(CERTIFICATE_VALID_MS));
        let made = parameters
            .signed_by(&self.server_key, &self.issuer)
            .map_err(|error| no_certificate(&error))?;
        let key = PrivateKeyDer::try_from(self.server_key.serialize_der())
            .map_err(|error| no_certificate(&error))?;
        certified(vec![made.der().clone()], key).map_err(|error| no_certificate(&error))
    }
}

/// What a power cut may leave of a file that was not made to last yet.
fn is_blank(pem: &str) -> bool {
    pem.bytes().all(|byte| byte == 0)
}

/// A date of a certificate.
fn date(time: Timestamp) -> OffsetDateTime {
    let since_1970 = Duration::from_millis(time.as_millis().max(0).unsigned_abs());
    (SystemTime::UNIX_EPOCH + since_1970).into()
}

/// The name or address, and the ways to name this machine itself where it is asked for by address.
fn alternative_names(subject: &Subject) -> Result<Vec<SanType>, TlsError> {
    let name = |name: &str| {
        let name = name.try_into().map_err(|error: rcgen::Error| no_certificate(&error))?;
        Ok(SanType::DnsName(name))
    };
    match subject {
        Subject::Name(asked) => Ok(vec![name(asked)?]),
        Subject::Address(address) => Ok(vec![
            SanType::IpAddress(*address),
            SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
            name("localhost")?,
        ]),
    }
}

/// The same at every start: a certificate that is made again from the same key is the same
/// authority.
fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = rcgen::date_time_ymd(2025, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2049, 12, 31);
    parameters
}

fn new_key() -> Result<KeyPair, TlsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| no_certificate(&error))
}

fn read_own(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    check_private(key).map_err(|why| unusable(key, &why))?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(chain, &error))?;
    if certificates.is_empty() {
        return Err(unusable(chain, &"it has no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    certified(certificates, private).map_err(|error| unusable(key, &error))
}

/// Refuses a key that does not belong to the certificate.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    Owner,
    All,
}

/// Writes a file that is there whole or not at all, if the process ends meanwhile.
fn write_whole(path: &Path, content: &str, readers: Readers) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made with mode 600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content.as_bytes())?;
    if readers == Readers::All {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn cannot(verb: &str, path: &Path, error: &dyn fmt::Display) -> TlsError {
    TlsError(format!("cannot {verb} {}: {error}", path.display()))
}

fn unusable(path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError(format!("cannot use {}: {why}", path.display()))
}

fn no_certificate(error: &dyn fmt::Display) -> TlsError {
    TlsError(format!("cannot make a certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;
    use weir_model::time::SystemClock;

    use super::*;

    const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

    fn open(data: &Path) -> Tls {
        let opened = Tls::open(&Certificates::Local, data, PROTOCOLS, Arc::new(SystemClock::new()));
        opened.expect("an authority")
    }

    /// Whether a client that trusts the certificates in `trusted` and asks for `name` shakes hands
    /// with the listener at `local`; tells what they agreed to speak.
    async fn agreed(tls: &Tls, local: &str, trusted: &Path, name: &str) -> io::Result<Vec<u8>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(trusted).expect("readable") {
            roots.add(certificate.expect("a certificate")).expect("an authority");
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (client, server) = tokio::io::duplex(1 << 16);
        let acceptor = tls.acceptor(local.parse().expect("an address"));
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let (accepted, connected) =
            tokio::join!(acceptor.accept(server), connector.connect(name, client));
        connected?;
        Ok(accepted?.get_ref().1.alpn_protocol().unwrap_or_default().to_vec())
    }

    #[tokio::test]
    async fn whoever_trusts_the_authority_trusts_every_name_and_address() {
        let data = tempfile::tempdir().expect("a directory");
        let tls = open(data.path());
        let trusted = tls.authority_file().expect("its own authority").to_owned();
        for (local, name) in [
            ("127.0.0.1:4567", "localhost"),
            ("127.0.0.1:4567", "127.0.0.1"),
            ("[::1]:4567", "::1"),
            ("172.17.0.2:4567", "172.17.0.2"),
            ("172.17.0.2:4567", "weir.test"),
            ("[::ffff:172.17.0.2]:4567", "172.17.0.2"),
        ] {
            let agreed = agreed(&tls, local, &trusted, name).await;
            assert_eq!(agreed.expect(name), b"h2", "{name} at {local}");
        }
        let elsewhere = agreed(&tls, "172.17.0.2:4567", &trusted, "172.17.0.9").await;
        assert!(elsewhere.is_err(), "a certificate for an address that is not ours");
    }

    #[tokio::test]
    async fn the_authority_outlives_a_run_and_the_loss_of_its_certificate() {
        let data = tempfile::tempdir().expect("a directory");
        let first = open(data.path()).authority_file().expect("its own").to_owned();
        let kept = data.path().join("trusted.pem");
        std::fs::copy(&first, &kept).expect("readable");
        for _ in 0..2 {
            let tls = open(data.path());
            agreed(&tls, "127.0.0.1:1", &kept, "localhost").await.expect("the same authority");
            std::fs::remove_file(&first).expect("it was there");
        }
        let other = tempfile::tempdir().expect("a directory");
        let stranger = open(other.path());
        assert!(agreed(&stranger, "127.0.0.1:1", &kept, "localhost").await.is_err());
    }

    #[tokio::test]
    async fn an_authority_that_a_power_cut_took_away_is_made_anew() {
        let data = tempfile::tempdir().expect("a directory");
        open(data.path()).keep().expect("a working disk");
        for (file, left) in [
            (AUTHORITY_KEY, ""),
            (AUTHORITY_KEY, "\0\0\0"),
            (AUTHORITY_CERTIFICATE, ""),
            (AUTHORITY_CERTIFICATE, "\0"),
        ] {
            std::fs::write(data.path().join(FOLDER).join(file), left).expect("writable");
            let tls = open(data.path());
            let trusted = tls.authority_file().expect("its own").to_owned();
            agreed(&tls, "127.0.0.1:1", &trusted, "localhost").await.expect("a new one, whole");
        }
    }

    #[test]
    fn keys_that_others_may_read_are_refused() {
        let data = tempfile::tempdir().expect("a directory");
        open(data.path());
        let key = data.path().join(FOLDER).join(AUTHORITY_KEY);
        let mode = std::fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("ours");
        let clock = Arc::new(SystemClock::new());
        let refused = Tls::open(&Certificates::Local, data.path(), PROTOCOLS, clock);
        let why = refused.expect_err("others may read it").to_string();
        assert!(why.contains("ca.key") && why.contains("chmod 600"), "{why}");
    }

    /// Writes an own certificate for `name` into `folder`: its chain, and its key.
    fn own(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
        let (chain, key) = (folder.join("own.pem"), folder.join("own.key"));
        std::fs::write(&chain, made.cert.pem()).expect("writable");
        write_whole(&key, &made.signing_key.serialize_pem(), Readers::Owner).expect("writable");
        (chain, key)
    }

    #[tokio::test]
    async fn own_certificates_are_shown_whatever_is_asked_for() {
        let data = tempfile::tempdir().expect("a directory");
        let (chain, key) = own(data.path(), "kinesis.test");
        let certificates = Certificates::Files { chain: chain.clone(), key };
        let tls = Tls::open(&certificates, data.path(), PROTOCOLS, Arc::new(SystemClock::new()));
        let tls = tls.expect("own certificates");
        assert_eq!(tls.authority_file(), None);
        assert!(!data.path().join(FOLDER).exists(), "no authority is made beside them");
        agreed(&tls, "127.0.0.1:1", &chain, "kinesis.test").await.expect("trusted");
        assert!(agreed(&tls, "127.0.0.1:1", &chain, "localhost").await.is_err());
    }

    #[test]
    fn own_certificates_that_cannot_be_used_are_refused_with_the_file() {
        let data = tempfile::tempdir().expect("a directory");
        let (chain, key) = own(data.path(), "kinesis.test");
        let other = tempfile::tempdir().expect("a directory");
        let (_, foreign) = own(other.path(), "kinesis.test");
        let missing = data.path().join("missing.pem");
        let empty = data.path().join("empty.pem");
        std::fs::write(&empty, "").expect("writable");
        for (chain, key, named) in [
            (&missing, &key, "missing.pem"),
            (&empty, &key, "empty.pem"),
            (&chain, &missing, "missing.pem"),
            (&chain, &foreign, "own.key"),
        ] {
            let certificates = Certificates::Files { chain: chain.clone(), key: key.clone() };
            let tls =
                Tls::open(&certificates, data.path(), PROTOCOLS, Arc::new(SystemClock::new()));
            let why = tls.expect_err("it cannot be used").to_string();
            assert!(why.contains(named), "{why}");
        }
    }
}
