//! The order in which a broker starts and stops.
//!
//! ```text
//!   start   data directory ─> log and metadata ─> core ─> first streams ─> listeners ─> ready
//!   stop    accept no more ─> answer what waits ─> flush ─> mark the stop as clean
//! ```
//!
//! Ports are bound last, so whoever connects is served at once, and a failed start has taken no
//! port. Nothing slow (a probe of the disk, say) stands before the ready line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use weir_core::MetaError;
use weir_core::broker::Broker;
use weir_core::error::CreateStreamError;
use weir_core::stream::config::Overrides;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_grpc::GrpcService;
use weir_kafka::{Advertised, KafkaService};
use weir_kinesis::{KinesisOptions, KinesisService};
use weir_model::time::{Clock, SettableClock};
use weir_storage::local::OpenError;

use crate::banner::Ready;
use crate::config::{Config, InitialStream};
use crate::control::Control;
use crate::data::{DataDirectory, open_broker};
use crate::faults;
use crate::http::{self, HttpService};
use crate::keys::{self, KeysError};
use crate::listen::{self, ListenError};
use crate::tls::{Tls, TlsError};

/// How long connections may answer what they have read before they are cut.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a stop may take; the last flush has all of it that the answers leave.
const STOP_MAX: Duration = Duration::from_millis(4_500);

const _: () = assert!(STOP_MAX.as_millis() < 5_000, "a stop takes at most five seconds");
const _: () = assert!(
    ANSWER_WAIT_MAX.as_millis() < STOP_MAX.as_millis(),
    "slow clients would leave the last flush no time"
);

/// The addresses that were really bound; a dialect that is off has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Kafka protocol.
    pub kafka: Vec<SocketAddr>,
    /// Kinesis API.
    pub kinesis: Vec<SocketAddr>,
    /// Kinesis API over TLS.
    pub kinesis_tls: Vec<SocketAddr>,
    /// Native API.
    pub grpc: Vec<SocketAddr>,
    /// Health and metrics.
    pub http: Vec<SocketAddr>,
}

/// Why a broker did not start, in one sentence.
#[derive(Debug)]
pub enum StartError {
    /// A directory could not be made.
    Directory(PathBuf, std::io::Error),
    /// The data cannot be used.
    Data(PathBuf, OpenError),
    /// The metadata could not be read.
    Meta(MetaError),
    /// A stream that was to be there at start could not be made.
    Stream(String, CreateStreamError),
    /// An address could not be bound.
    Listen(ListenError),
    /// There is no certificate.
    Tls(TlsError),
    /// The key file cannot be used.
    Keys(KeysError),
    /// The file of faults cannot be used.
    Faults(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Directory(path, error) => {
                write!(out, "cannot make the directory {}: {error}", path.display())
            }
            StartError::Data(path, why) => write!(out, "cannot use {}: {why}", path.display()),
            StartError::Meta(error) => write!(out, "cannot read the metadata: {error:?}"),
            StartError::Stream(name, error) => write!(out, "cannot create {name}: {error:?}"),
            StartError::Listen(error) => error.fmt(out),
            StartError::Tls(error) => error.fmt(out),
            StartError::Keys(error) => error.fmt(out),
            StartError::Faults(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> StartError {
        StartError::Listen(error)
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> StartError {
        StartError::Tls(error)
    }
}

impl From<KeysError> for StartError {
    fn from(error: KeysError) -> StartError {
        StartError::Keys(error)
    }
}

/// Why a stop was not clean; what was acknowledged is safe all the same.
#[derive(Debug)]
pub enum StopError {
    /// The last flush failed.
    Log(MetaError),
    /// The last flush took longer than a stop may take.
    TimedOut,
    /// The temporary data could not be removed.
    Temporary(std::io::Error),
}

impl fmt::Display for StopError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::Log(error) => write!(out, "the last flush failed: {error:?}"),
            StopError::TimedOut => write!(out, "the last flush was not done after {STOP_MAX:?}"),
            StopError::Temporary(error) => {
                write!(out, "cannot remove the temporary data: {error}")
            }
        }
    }
}

impl std::error::Error for StopError {}

/// A running broker. Dropping it stops it in no order; [`Server::stop`] is the right way.
#[derive(Debug)]
pub struct Server {
    broker: Arc<Broker>,
    addresses: Addresses,
    data: DataDirectory,
    /// The file that clients are to trust, where there is TLS by a local authority.
    tls_authority: Option<PathBuf>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Server {
    /// Starts a broker; when this returns, every listener takes connections. Must be called inside
    /// a tokio runtime of several threads.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Server, StartError> {
        let data = DataDirectory::make(&config.data)?;
        let settable = config.manual_clock.then(|| {
            warn!("the clock stands still until it is moved by POST /api/v1/clock");
            Arc::new(SettableClock::starting_at(clock.now()))
        });
        let shown = settable.clone().map_or(Arc::clone(&clock), |clock| clock as Arc<dyn Clock>);
        let broker = open_broker(&config, &data, shown).await?;
        let clocks = Clocks { system: clock, settable };
        match Server::start_on(&config, Arc::clone(&broker), data, clocks).await {
            Ok(server) => Ok(server),
            Err(error) => {
                // Whoever asked for a port that is taken should not find an unclean directory.
                if let Err(error) = broker.close().await {
                    warn!(?error, "cannot close the log");
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        config: &Config,
        broker: Arc<Broker>,
        data: DataDirectory,
        clocks: Clocks,
    ) -> Result<Server, StartError> {
        let authentication = keys::authentication(&config.kinesis_auth)?;
        if let Some(file) = &config.faults {
            broker.faults().replace(faults::read(file).map_err(StartError::Faults)?);
        }
        create_missing(&broker, config).await?;
        let kafka = listen::bind(&config.kafka, "--kafka").await?;
        let kinesis = listen::bind(&config.kinesis, "--kinesis").await?;
        let kinesis_tls = listen::bind(&config.kinesis_tls, "--kinesis-tls").await?;
        let grpc = listen::bind(&config.grpc, "--grpc").await?;
        let http = listen::bind(&config.http, "--http").await?;
        let tls = match kinesis_tls.is_empty() {
            true => None,
            false => Some(open_tls(config, &data, Arc::clone(&clocks.system)).await?),
        };
        let addresses = Addresses {
            kafka: local_addresses(&kafka),
            kinesis: local_addresses(&kinesis),
            kinesis_tls: local_addresses(&kinesis_tls),
            grpc: local_addresses(&grpc),
            http: local_addresses(&http),
        };
        let (stop, stopped) = watch::channel(false);
        let mut listeners = JoinSet::new();
        let advertised = Advertised {
            rules: config.kafka_advertised.clone(),
            gateways: weir_kafka::default_gateways(),
        };
        let service = KafkaService::new(Arc::clone(&broker), advertised);
        for listener in kafka {
            listeners.spawn(weir_kafka::serve(listener, Arc::clone(&service), stopped.clone()));
        }
        let options = KinesisOptions {
            authentication,
            system_clock: clocks.system,
            ..KinesisOptions::default()
        };
        let service = KinesisService::new(Arc::clone(&broker), options);
        let service = Arc::new(service);
        let tls_authority = tls.as_ref().and_then(|tls| tls.authority_file().map(Into::into));
        if let Some(tls) = tls.clone() {
            tokio::task::spawn_blocking(move || match tls.keep() {
                Ok(()) => {}
                Err(error) => warn!(%error, "the TLS authority may not outlive a power cut"),
            });
        }
        let encrypted = tls.map(|tls| -> Arc<weir_kinesis::TlsAcceptors> {
            Arc::new(move |local| tls.acceptor(local))
        });
        let plain = kinesis.into_iter().map(|listener| (listener, None));
        let encrypted = kinesis_tls.into_iter().map(|listener| (listener, encrypted.clone()));
        for (listener, tls) in plain.chain(encrypted) {
            let mut stopped = stopped.clone();
            let stop = async move {
                // An error means that the server is gone, and is as good a reason to stop.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            listeners.spawn(weir_kinesis::serve(listener, tls, Arc::clone(&service), stop));
        }
        let service = GrpcService::new(Arc::clone(&broker), stopped.clone());
        for listener in grpc {
            listeners.spawn(weir_grpc::serve(listener, service.clone(), stopped.clone()));
        }
        let control = Control::new(Arc::clone(&broker), clocks.settable);
        let service = HttpService::new(Arc::clone(&broker), addresses.clone(), stopped, control);
        for listener in http {
            listeners.spawn(http::serve(listener, Arc::clone(&service)));
        }
        Ok(Server { broker, addresses, data, tls_authority, stop, listeners })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its core.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// What is to be said of it, `startup` after the start of the process.
    pub fn ready(&self, startup: Duration) -> Ready {
        Ready {
            event: "ready",
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            startup_ms: u64::try_from(startup.as_millis()).unwrap_or(u64::MAX),
            flush: self.broker.options().default_flush.name(),
            data_dir: self.data.path().to_owned(),
            ephemeral: self.data.is_temporary(),
            kafka: self.addresses.kafka.clone(),
            kinesis: self.addresses.kinesis.clone(),
            kinesis_tls: self.addresses.kinesis_tls.clone(),
            grpc: self.addresses.grpc.clone(),
            http: self.addresses.http.clone(),
            tls_authority: self.tls_authority.clone(),
        }
    }

    /// Stops: no more connections, what waits is answered, everything flushed, the stop marked as
    /// clean. Takes less than five seconds.
    pub async fn stop(self) -> Result<(), StopError> {
        let Server { broker, data, stop, mut listeners, .. } = self;
        stop.send_replace(true);
        let stopped = async {
            let answered = async { while listeners.join_next().await.is_some() {} };
            if tokio::time::timeout(ANSWER_WAIT_MAX, answered).await.is_err() {
                info!("cutting connections that still wait for something");
                listeners.shutdown().await;
            }
            broker.close().await
        };
        match tokio::time::timeout(STOP_MAX, stopped).await {
            Ok(closed) => closed.map_err(StopError::Log)?,
            // What is still being written only saves the next start from reading the logs.
            Err(_) if broker.log().stats().unflushed_bytes == 0 => {
                warn!("everything is kept, but the stop is not marked as clean for want of time");
            }
            Err(_) => return Err(StopError::TimedOut),
        }
        drop(broker);
        data.remove_if_temporary().map_err(StopError::Temporary)
    }
}

/// The system's clock, and the broker's if that is another one.
struct Clocks {
    system: Arc<dyn Clock>,
    settable: Option<Arc<SettableClock>>,
}

fn local_addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let address =
        |listener: &TcpListener| listener.local_addr().expect("a listening socket has an address");
    listeners.iter().map(address).collect()
}

async fn open_tls(
    config: &Config,
    data: &DataDirectory,
    clock: Arc<dyn Clock>,
) -> Result<Tls, StartError> {
    let (certificates, data) = (config.certificates.clone(), data.path().to_owned());
    let open = move || Tls::open(&certificates, &data, weir_kinesis::TLS_PROTOCOLS, clock);
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.expect("opening does not panic and is not cancelled")?)
}

/// Makes the streams that `--topic` and `--stream` name, all in one commit; what is there already
/// stays as it is.
async fn create_missing(broker: &Broker, config: &Config) -> Result<(), StartError> {
    let new = |routing: Routing| {
        move |stream: &InitialStream| NewStream {
            name: stream.name.clone(),
            routing,
            partitions: stream.partitions,
            overrides: Overrides::new(),
            attributes: Default::default(),
            intent: Intent::Make,
        }
    };
    let topics = config.topics.iter().map(new(Routing::ByPartition));
    let streams = config.streams.iter().map(new(Routing::ByHash));
    let all: Vec<NewStream> = topics.chain(streams).collect();
    let names: Vec<String> = all.iter().map(|stream| stream.name.to_string()).collect();
    for (name, made) in names.into_iter().zip(broker.create_streams(all).await) {
        match made {
            Ok(_) | Err(CreateStreamError::AlreadyExists) => {}
            Err(error) => return Err(StartError::Stream(name, error)),
        }
    }
    Ok(())
}
