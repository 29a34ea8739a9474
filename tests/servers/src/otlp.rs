//! A receiver of OpenTelemetry's protocol over HTTP, which keeps what it is told for tests to look at.

use crate::http::{self, Answer, Request};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A span, with the process that it comes from.
#[derive(Clone, Debug)]
pub struct Span {
    /// Id of its trace, in hexadecimal digits.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent; empty for a root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `service.instance.id` of the process.
    pub instance: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds that it took.
    pub took: u64,
}

/// What was received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Spans as they came.
    pub spans: Vec<Span>,
    /// Names of metrics, with the names of the attributes that their points have.
    pub metrics: BTreeMap<String, BTreeSet<String>>,
    /// Bodies of log records.
    pub logs: Vec<String>,
}

/// A receiver on loopback, for as long as the process lives.
#[derive(Debug)]
pub struct Receiver {
    endpoint: String,
    received: Arc<Mutex<Received>>,
}

impl Receiver {
    /// Starts one.
    ///
    /// # Panics
    /// Where the system gives no port or thread.
    pub fn start() -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let keep = Arc::clone(&received);
        let endpoint = http::serve(move |request| take(request, &keep));
        Self { endpoint, received }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What came so far.
    ///
    /// # Panics
    /// Where something came that cannot be read.
    pub fn received(&self) -> Received {
        self.received.lock().expect("all could be read").clone()
    }
}

/// Keeps what one request says.
fn take(request: &Request, keep: &Mutex<Received>) -> Answer {
    let mut received = keep.lock().expect("all could be read");
    match request.path.as_str() {
        "/v1/traces" => spans(&request.body, &mut received.spans),
        "/v1/metrics" => metrics(&request.body, &mut received.metrics),
        "/v1/logs" => logs(&request.body, &mut received.logs),
        other => panic!("nobody sends to {other}"),
    }
    Answer {
        status: 200,
        content_type: "application/x-protobuf",
        body: Vec::new(),
    }
}

fn spans(body: &[u8], spans: &mut Vec<Span>) {
    let request = ExportTraceServiceRequest::decode(body).expect("traces");
    for of_process in request.resource_spans {
        let instance = instance(of_process.resource.as_ref());
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                instance: instance.clone(),
                attributes: attributes(&span.attributes).collect(),
                took: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
            });
        }
    }
}

fn metrics(body: &[u8], metrics: &mut BTreeMap<String, BTreeSet<String>>) {
    let request = ExportMetricsServiceRequest::decode(body).expect("metrics");
    let scopes = request.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
    for metric in scopes.flat_map(|scope| scope.metrics) {
        let points: Vec<Vec<KeyValue>> = match metric.data {
            Some(Data::Sum(sum)) => sum.data_points.into_iter().map(|point| point.attributes).collect(),
            Some(Data::Gauge(gauge)) => gauge.data_points.into_iter().map(|point| point.attributes).collect(),
            Some(Data::Histogram(histogram)) => histogram
                .data_points
                .into_iter()
                .map(|point| point.attributes)
                .collect(),
            _ => Vec::new(),
        };
        let names = points.iter().flatten().map(|attribute| attribute.key.clone());
        metrics.entry(metric.name).or_default().extend(names);
    }
}

fn logs(body: &[u8], logs: &mut Vec<String>) {
    let request = ExportLogsServiceRequest::decode(body).expect("logs");
    let scopes = request.resource_logs.into_iter().flat_map(|of| of.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    logs.extend(records.map(|record| text(record.body.as_ref())));
}

fn instance(resource: Option<&Resource>) -> String {
    let attributes: BTreeMap<_, _> = resource
        .into_iter()
        .flat_map(|resource| attributes(&resource.attributes))
        .collect();
    assert!(attributes.contains_key("service.name"), "{attributes:?}");
    attributes["service.instance.id"].clone()
}

fn attributes(of: &[KeyValue]) -> impl Iterator<Item = (String, String)> + '_ {
    of.iter()
        .map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref())))
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
