//! What nodes say to each other: actions on one Arrow Flight server a node.
//!
//! An action is a name and bytes, the answer is bytes or an error in words. The server runs on its own small runtime, so
//! that computation never keeps it from answering.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

const CONNECT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(30);

/// Answers actions.
pub type Handler = Arc<dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

pub struct Server {
    handler: Handler,
}

/// Serves until the process ends. The listener is bound before, so that a taken port is told at once.
pub async fn serve(listener: tokio::net::TcpListener, handler: Handler) -> Result<(), tonic::transport::Error> {
    let service = FlightServiceServer::new(Server { handler }).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_LIMIT))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .max_frame_size(1 << 20)
        .add_service(service)
        // Without it, answers of more than one packet wait 40 ms for an acknowledgement.
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
}

fn refuse<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nodes of ochre speak to each other by actions only"))
}

#[tonic::async_trait]
impl FlightService for Server {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.into_inner();
        let body = (self.handler)(action.r#type, action.body).await.map_err(Status::failed_precondition)?;
        Ok(Response::new(futures::stream::iter([Ok(arrow_flight::Result { body: body.into() })]).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        refuse()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        refuse()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        refuse()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        refuse()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        refuse()
    }
    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        refuse()
    }
    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        refuse()
    }
    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        refuse()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        refuse()
    }
}

/// Why a call brought nothing.
#[derive(Clone, Debug)]
pub enum CallError {
    /// Nobody listens at the address: the process is gone.
    Refused(String),
    /// The other node did not answer in time, or the connection broke.
    Unreachable(String),
    /// The other node answered with an error.
    Told(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Refused(m) | CallError::Unreachable(m) | CallError::Told(m) => f.write_str(m),
        }
    }
}

/// Connections to other nodes, made when first used.
#[derive(Default, Clone)]
pub struct Clients {
    channels: Arc<Mutex<HashMap<SocketAddr, Channel>>>,
}

impl Clients {
    fn channel(&self, to: SocketAddr) -> Result<Channel, CallError> {
        if let Some(c) = self.channels.lock().get(&to) {
            return Ok(c.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{to}"))
            .map_err(|e| CallError::Unreachable(format!("{to}: {e}")))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_LIMIT)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect_lazy();
        self.channels.lock().insert(to, channel.clone());
        Ok(channel)
    }

    /// Calls an action on another node.
    pub async fn call(&self, to: SocketAddr, action: &str, body: impl Into<Bytes>, limit: Duration) -> Result<Vec<u8>, CallError> {
        let mut client =
            FlightServiceClient::new(self.channel(to)?).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
        let request = Action { r#type: action.into(), body: body.into() };
        let call = async {
            let mut stream = client.do_action(request).await?.into_inner();
            stream.message().await?.ok_or_else(|| Status::internal("an empty answer"))
        };
        match tokio::time::timeout(limit, call).await {
            Err(_) => Err(CallError::Unreachable(format!("{to} did not answer within {limit:?}"))),
            Ok(Ok(reply)) => Ok(reply.body.to_vec()),
            Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => Err(CallError::Told(status.message().into())),
            Ok(Err(status)) => {
                let mut causes = status.message().to_string();
                let mut source = std::error::Error::source(&status);
                while let Some(s) = source {
                    causes = format!("{causes}: {s}");
                    source = s.source();
                }
                let text = format!("{to}: {causes}");
                if causes.contains("refused") { Err(CallError::Refused(text)) } else { Err(CallError::Unreachable(text)) }
            }
        }
    }
}
