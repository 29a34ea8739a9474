//! Telemetry by OTLP over HTTP, as the environment asks for it with OpenTelemetry's own variables. Off unless
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, or the variable of a single signal, is set; a collector that is away costs nothing but
//! what it would have been told.

use fedstill_log::Clock;
use fedstill_schemas::envelope::Trace;
use fedstill_stages::telemetry::{Span, Spans, Telemetry};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, IdGenerator, SdkTracer, SdkTracerProvider};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Exporters of this process: what they hold is sent when it goes.
#[derive(Debug)]
pub(crate) struct Exporters {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
    instance: String,
}

/// Takes what is logged.
pub(crate) type Lines = OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>;

impl Exporters {
    /// What the environment asks for, of a process of these stages; `None` where it asks for nothing.
    ///
    /// # Errors
    /// An endpoint that is none.
    pub(crate) fn from_environment(stages: &str) -> Result<Option<Self>, String> {
        if !is_asked_for() {
            return Ok(None);
        }
        fedstill_stages::store::provide_tls();
        let wrong =
            |error: &dyn std::fmt::Display| format!("telemetry: {error}; see the variables OTEL_EXPORTER_OTLP_*");
        let spans = opentelemetry_otlp::SpanExporter::builder().with_http().build();
        let metrics = opentelemetry_otlp::MetricExporter::builder().with_http().build();
        let logs = opentelemetry_otlp::LogExporter::builder().with_http().build();
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| wrong(&error))?;
        let instance = format!("{:016x}", u64::from_be_bytes(bytes));
        let mut resource = Resource::builder();
        let named = std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|said| said.contains("service.name="));
        if !named && std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("fedstill");
        }
        let resource = resource
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance.clone()),
                KeyValue::new("fedstill.stages", stages.to_owned()),
            ])
            .build();
        Ok(Some(Self {
            traces: SdkTracerProvider::builder()
                .with_id_generator(Given)
                .with_resource(resource.clone())
                .with_span_processor(batches(spans.map_err(|error| wrong(&error))?))
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_resource(resource.clone())
                .with_periodic_exporter(metrics.map_err(|error| wrong(&error))?)
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_resource(resource)
                .with_batch_exporter(logs.map_err(|error| wrong(&error))?)
                .build(),
            instance,
        }))
    }

    /// What a context tells by.
    pub(crate) fn telemetry(&self, clock: Arc<dyn Clock>) -> Telemetry {
        let spans = Box::new(Tracing(self.traces.tracer("fedstill")));
        Telemetry::new(&self.metrics.meter("fedstill"), spans, &self.instance, clock)
    }

    /// What takes the lines that are logged.
    pub(crate) fn lines(&self) -> Lines {
        OpenTelemetryTracingBridge::new(&self.logs)
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let ends = [
            self.traces.shutdown_with_timeout(PATIENCE),
            self.metrics.shutdown_with_timeout(PATIENCE),
            self.logs.shutdown_with_timeout(PATIENCE),
        ];
        for error in ends.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the last of the telemetry was not sent");
        }
    }
}

/// Sends spans in batches. A phase of ten thousand parties is opened at once: a trace that lacks some of it is no tree.
fn batches(exporter: opentelemetry_otlp::SpanExporter) -> BatchSpanProcessor {
    const WAITING: usize = 1 << 16;
    let mut config = BatchConfigBuilder::default();
    if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        config = config.with_max_queue_size(WAITING);
    }
    let processor = BatchSpanProcessor::builder(exporter);
    processor.with_batch_config(config.build()).build()
}

fn is_asked_for() -> bool {
    let said = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoints = ["", "_TRACES", "_METRICS", "_LOGS"].map(|signal| format!("OTEL_EXPORTER_OTLP{signal}_ENDPOINT"));
    !disabled && endpoints.iter().any(|name| said(name))
}

/// Hands spans to the SDK.
#[derive(Debug)]
struct Tracing(SdkTracer);

impl Spans for Tracing {
    fn ended(&self, span: Span) {
        let at = |since: Duration| SystemTime::UNIX_EPOCH + since;
        let parent = span.parent.map_or_else(Context::new, |parent| {
            let context = context(Trace {
                trace: span.at.trace,
                span: parent,
            });
            Context::new().with_remote_span_context(context)
        });
        let link = span.link.map(|link| Link::with_context(context(link)));
        let builder = SpanBuilder::from_name(span.name)
            .with_kind(span.kind)
            .with_start_time(at(span.began))
            .with_attributes(span.attributes)
            .with_links(link.into_iter().collect());
        NEXT.set(span.at);
        let mut made = self.0.build_with_context(builder, &parent);
        use opentelemetry::trace::Span as _;
        if let Some(error) = span.error {
            made.set_status(Status::error(error));
        }
        made.end_with_timestamp(at(span.ended));
    }
}

fn context(at: Trace) -> SpanContext {
    let (trace, span) = (TraceId::from(at.trace), SpanId::from(at.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE)
}

thread_local! {
    /// Ids of the span that this thread builds next.
    static NEXT: Cell<Trace> = const { Cell::new(Trace { trace: 0, span: 0 }) };
}

/// Gives the ids that a span has already.
#[derive(Debug)]
struct Given;

impl IdGenerator for Given {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(NEXT.get().trace)
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(NEXT.get().span)
    }
}
