//! Reading a YAML or JSON document field by field, so that every fault is found and not only the first.

use serde_json::{Map, Value};

use super::Fault;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault::new(path, reason));
    }
}

/// One mapping of the document, and where it is.
pub(super) struct Section<'a> {
    /// Empty for the document itself.
    pub(super) path: String,
    /// Nothing where the document has none, or something that is no mapping, which was reported.
    members: Option<&'a Map<String, Value>>,
}

/// A field's value. `null` is absent, as in every Kubernetes object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    Absent,
    Is(T),
    /// Of another type, which was reported.
    Faulty,
}

impl<'a> Found<&'a str> {
    /// The text, empty if there is none.
    pub(super) fn or_empty(self) -> &'a str {
        match self {
            Self::Is(text) => text,
            Self::Absent | Self::Faulty => "",
        }
    }

    /// Whether there is no text, and nobody has said so yet.
    pub(super) fn is_missing(self) -> bool {
        matches!(self, Self::Absent | Self::Is(""))
    }
}

/// Parses a YAML document, of which JSON is a part; duplicate keys are an error.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    // The parser shows the lines around a mistake, and advises programmers.
    serde_saphyr::from_str(text).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

impl<'a> Section<'a> {
    /// The document itself.
    pub(super) fn root(document: &'a Value, faults: &mut Faults) -> Self {
        let members = document.as_object();
        if members.is_none() {
            faults.add("", "the document is not a mapping with apiVersion, kind and jwt");
        }
        Self { path: String::new(), members }
    }

    /// Reports every field but these.
    pub(super) fn allow(&self, fields: &[&str], faults: &mut Faults) {
        for name in self.members.into_iter().flat_map(Map::keys).filter(|name| !fields.contains(&name.as_str())) {
            let near = fields.iter().find(|field| field.eq_ignore_ascii_case(name));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            faults.add(self.field(name), format!("is no field of this version{hint}"));
        }
    }

    pub(super) fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether the document has this mapping.
    pub(super) fn is_present(&self) -> bool {
        self.members.is_some()
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str, faults: &mut Faults) -> Found<&'a str> {
        match self.get(name) {
            None => Found::Absent,
            Some(Value::String(text)) => Found::Is(text),
            Some(other) => {
                faults.add(self.field(name), format!("is {}, not a string (quote it)", kind(other)));
                Found::Faulty
            }
        }
    }

    pub(super) fn flag(&self, name: &str, faults: &mut Faults) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                faults.add(self.field(name), format!("is {}, not true or false", kind(other)));
                false
            }
        }
    }

    pub(super) fn section(&self, name: &str, faults: &mut Faults) -> Section<'a> {
        let path = self.field(name);
        match self.get(name) {
            None => Section { path, members: None },
            Some(value) => Section::of(value, path, faults),
        }
    }

    /// The mappings of a list; what is none of them is reported.
    pub(super) fn sections(&self, name: &str, faults: &mut Faults) -> Vec<Section<'a>> {
        let path = self.field(name);
        match self.get(name) {
            None => Vec::new(),
            Some(Value::Array(members)) => {
                let indexed = |(index, value)| Section::of(value, format!("{path}[{index}]"), faults);
                members.iter().enumerate().map(indexed).collect()
            }
            Some(other) => {
                faults.add(path, format!("is {}, not a list", kind(other)));
                Vec::new()
            }
        }
    }

    /// The strings of a list; each that is none is reported.
    pub(super) fn texts(&self, name: &str, faults: &mut Faults) -> Found<Vec<&'a str>> {
        let path = self.field(name);
        match self.get(name) {
            None => Found::Absent,
            Some(Value::Array(members)) => {
                for (index, member) in members.iter().enumerate().filter(|(_, member)| !member.is_string()) {
                    faults.add(format!("{path}[{index}]"), format!("is {}, not a string (quote it)", kind(member)));
                }
                let texts: Option<Vec<&str>> = members.iter().map(Value::as_str).collect();
                texts.map_or(Found::Faulty, Found::Is)
            }
            Some(other) => {
                faults.add(path, format!("is {}, not a list of strings", kind(other)));
                Found::Faulty
            }
        }
    }

    fn of(value: &'a Value, path: String, faults: &mut Faults) -> Section<'a> {
        if value.as_object().is_none() && !value.is_null() {
            faults.add(path.clone(), format!("is {}, not a mapping", kind(value)));
        }
        Section { path, members: value.as_object() }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
