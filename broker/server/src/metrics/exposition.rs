//! Writes metrics as text: OpenMetrics 1.0, or Prometheus' older text format for whoever asks for
//! plain text (such as `promtool check metrics`).
//!
//! ```text
//!   # TYPE weir_requests counter          OpenMetrics names the family, …
//!   # TYPE weir_requests_total counter    … the older format the sample
//!   # HELP weir_requests Requests begun
//!   weir_requests_total{dialect="kafka",api="Fetch"} 3
//!   # EOF                                 only OpenMetrics
//! ```
//!
//! Our own writer, since names that others have made common do not all fit a library's idea of a
//! name: the JMX exporter's summaries are in milliseconds, CloudWatch's sums are gauges.

use std::fmt::{self, Write as _};

use weir_model::histogram::Durations;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Plain,
}

impl Format {
    /// What a client that sends this `Accept` is given: OpenMetrics, unless it takes plain text and
    /// does not know OpenMetrics.
    pub(crate) fn accepted_by(accept: &str) -> Format {
        let is_plain = accept.contains("text/plain") && !accept.contains("openmetrics");
        if is_plain { Format::Plain } else { Format::OpenMetrics }
    }

    /// The media type of the text.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow; `_total` is added to the name.
    Counter,
    /// They go up and down.
    Gauge,
    /// Durations in seconds, by buckets.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// Facts in labels; `_info` is added to the name.
    Info,
}

/// A value as it is written: whole numbers stay whole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Whole(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(value) => value.fmt(out),
            Value::Float(value) => value.fmt(out),
        }
    }
}

/// Labels of a sample, in the order in which they are written.
pub(super) type Labels<'l> = &'l [(&'l str, &'l str)];

/// The text that is being written.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Exposition {
        Exposition { format, text: String::new() }
    }

    /// Begins a family. Its samples follow before the next family begins.
    pub(super) fn family<'e>(&'e mut self, kind: Kind, name: &'e str, help: &str) -> Family<'e> {
        let (sample_suffix, kind_name) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
            Kind::Summary => ("", "summary"),
            // The older format has no such kind.
            Kind::Info if self.format == Format::Plain => ("_info", "gauge"),
            Kind::Info => ("_info", "info"),
        };
        let family_suffix = match self.format {
            Format::OpenMetrics => "",
            Format::Plain => sample_suffix,
        };
        self.write(format_args!("# TYPE {name}{family_suffix} {kind_name}\n"));
        self.write(format_args!("# HELP {name}{family_suffix} {help}\n"));
        Family { exposition: self, name, suffix: sample_suffix }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &str, help: &str, value: impl Into<Value>) {
        self.family(kind, name, help).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn write(&mut self, arguments: fmt::Arguments<'_>) {
        self.text.write_fmt(arguments).expect("a String takes all that is written to it");
    }
}

/// One family of samples.
pub(super) struct Family<'e> {
    exposition: &'e mut Exposition,
    name: &'e str,
    suffix: &'static str,
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Into<Value>) {
        self.line(self.suffix, labels, None, value.into());
    }

    /// The samples of a histogram of durations, in seconds.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, durations: &Durations) {
        for (bound, count) in durations.cumulated() {
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound_text(bound.as_secs_f64()));
            self.line("_bucket", labels, Some(("le", &bound)), count.into());
        }
        self.line("_sum", labels, None, durations.sum().as_secs_f64().into());
        self.line("_count", labels, None, durations.count().into());
    }

    /// One quantile of a summary; `quantile` is spelled as whoever queries it spells it.
    pub(super) fn quantile(&mut self, labels: Labels<'_>, quantile: &str, value: f64) {
        self.line("", labels, Some(("quantile", quantile)), value.into());
    }

    /// The sum and the count of a summary.
    pub(super) fn sum_and_count(&mut self, labels: Labels<'_>, sum: f64, count: u64) {
        self.line("_sum", labels, None, sum.into());
        self.line("_count", labels, None, count.into());
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: Value) {
        let name = self.name;
        self.exposition.write(format_args!("{name}{suffix}"));
        let mut opener = '{';
        for (label, text) in labels.iter().copied().chain(last) {
            self.exposition.write(format_args!("{opener}{label}=\"{}\"", Escaped(text)));
            opener = ',';
        }
        let closer = if opener == ',' { "}" } else { "" };
        self.exposition.write(format_args!("{closer} {value}\n"));
    }
}

/// The bound of a bucket, with a point as OpenMetrics wants it.
fn bound_text(seconds: f64) -> String {
    if seconds.fract() == 0.0 { format!("{seconds:.1}") } else { seconds.to_string() }
}

/// A label's value, which may hold anything.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => out.write_str("\\\\")?,
                '"' => out.write_str("\\\"")?,
                '\n' => out.write_str("\\n")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weir_model::histogram::Histogram;

    fn written(format: Format, write: impl FnOnce(&mut Exposition)) -> String {
        let mut exposition = Exposition::new(format);
        write(&mut exposition);
        exposition.finish()
    }

    #[test]
    fn the_two_formats_differ_in_what_a_family_is_called() {
        let write = |out: &mut Exposition| {
            out.family(Kind::Counter, "a", "Some").sample(&[("b", "c"), ("d", "e")], 3_u64);
            out.family(Kind::Info, "i", "Fact").sample(&[("v", "1")], 1_u64);
            out.single(Kind::Gauge, "g", "Size", 0.5);
        };
        let open = "# TYPE a counter\n# HELP a Some\na_total{b=\"c\",d=\"e\"} 3\n\
                    # TYPE i info\n# HELP i Fact\ni_info{v=\"1\"} 1\n\
                    # TYPE g gauge\n# HELP g Size\ng 0.5\n# EOF\n";
        assert_eq!(written(Format::OpenMetrics, write), open);
        let plain = "# TYPE a_total counter\n# HELP a_total Some\na_total{b=\"c\",d=\"e\"} 3\n\
                     # TYPE i_info gauge\n# HELP i_info Fact\ni_info{v=\"1\"} 1\n\
                     # TYPE g gauge\n# HELP g Size\ng 0.5\n";
        assert_eq!(written(Format::Plain, write), plain);
    }

    #[test]
    fn buckets_are_cumulated_and_end_with_all() {
        let histogram = Histogram::default();
        for millis in [1, 1, 900, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let text = written(Format::OpenMetrics, |out| {
            let mut family = out.family(Kind::Histogram, "h", "Times");
            family.histogram(&[("k", "v")], &histogram.durations());
        });
        for line in [
            "h_bucket{k=\"v\",le=\"0.00005\"} 0\n",
            "h_bucket{k=\"v\",le=\"0.001\"} 2\n",
            "h_bucket{k=\"v\",le=\"1.0\"} 3\n",
            "h_bucket{k=\"v\",le=\"+Inf\"} 4\n",
            "h_sum{k=\"v\"} 60.902\n",
            "h_count{k=\"v\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn label_values_cannot_break_out() {
        let text = written(Format::OpenMetrics, |out| {
            out.family(Kind::Gauge, "g", "Size").sample(&[("k", "a\"b\\c\nd")], 1_u64);
        });
        assert!(text.contains("g{k=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
    }

    #[test]
    fn plain_text_is_for_those_who_know_nothing_else() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            (prometheus, Format::OpenMetrics),
            ("text/plain", Format::Plain),
            ("text/plain;version=0.0.4,*/*", Format::Plain),
        ] {
            assert_eq!(Format::accepted_by(accept), format, "{accept}");
        }
    }
}
