//! A JSON document as Go's `encoding/json` looks at one: keys in the document's order, found whatever their case.
//! It must not know which keys there are.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// One value. Numbers carry nothing: no key of ours takes one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// A value of another type than the key takes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path} is {found}, wanted {wanted}")]
pub struct TypeError {
    /// Where, such as `resourceList[0].selectors.vendors[1]`.
    pub path: String,
    /// What is there.
    pub found: &'static str,
    /// What belongs there.
    pub wanted: &'static str,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) json: Json,
    pub(super) path: String,
}

/// The members of an object that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Members {
    left: Vec<(String, Json)>,
    path: String,
}

impl At {
    pub(super) fn is_null(&self) -> bool {
        self.json == Json::Null
    }

    /// Whether it is what no key at all means, too.
    pub(super) fn asks_for_nothing(&self) -> bool {
        match &self.json {
            Json::Null => true,
            Json::Bool(truth) => !truth,
            Json::Text(text) => text.is_empty(),
            Json::List(list) => list.is_empty(),
            Json::Number | Json::Object(_) => false,
        }
    }

    /// An object's members; null has none.
    pub(super) fn members(self, wanted: &'static str) -> Result<Members, TypeError> {
        match self.json {
            Json::Object(left) => Ok(Members { left, path: self.path }),
            Json::Null => Ok(Members { left: Vec::new(), path: self.path }),
            _ => Err(self.mistyped(wanted)),
        }
    }

    /// A list's elements; null has none.
    pub(super) fn list(self, wanted: &'static str) -> Result<Vec<At>, TypeError> {
        let path = self.path;
        match self.json {
            Json::List(list) => {
                let at = |(index, json)| At { json, path: format!("{path}[{index}]") };
                Ok(list.into_iter().enumerate().map(at).collect())
            }
            Json::Null => Ok(Vec::new()),
            json => Err(At { json, path }.mistyped(wanted)),
        }
    }

    /// A string; null is the empty one.
    pub(super) fn text(self) -> Result<String, TypeError> {
        match self.json {
            Json::Text(text) => Ok(text),
            Json::Null => Ok(String::new()),
            _ => Err(self.mistyped("a string")),
        }
    }

    /// A truth value; null is false.
    pub(super) fn truth(self) -> Result<bool, TypeError> {
        match self.json {
            Json::Bool(truth) => Ok(truth),
            Json::Null => Ok(false),
            _ => Err(self.mistyped("true or false")),
        }
    }

    pub(super) fn texts(self) -> Result<Vec<String>, TypeError> {
        self.list("a list of strings")?.into_iter().map(At::text).collect()
    }

    pub(super) fn mistyped(&self, wanted: &'static str) -> TypeError {
        let found = match self.json {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number => "a number",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        };
        TypeError { path: self.path.clone(), found, wanted }
    }
}

impl Members {
    /// Takes a member, whatever the case of its key. Of several the last in the document counts.
    pub(super) fn take(&mut self, key: &str) -> At {
        let json = self.take_all(key).pop().unwrap_or(Json::Null);
        At { json, path: join(&self.path, key) }
    }

    /// As [`Members::take`], for a string or a truth value: in Go null leaves these as they are.
    pub(super) fn take_scalar(&mut self, key: &str) -> At {
        let mut all = self.take_all(key);
        all.retain(|json| *json != Json::Null);
        At { json: all.pop().unwrap_or(Json::Null), path: join(&self.path, key) }
    }

    fn take_all(&mut self, key: &str) -> Vec<Json> {
        let taken = self.left.extract_if(.., |(name, _)| name.eq_ignore_ascii_case(key));
        taken.map(|(_, json)| json).collect()
    }

    /// Every member that is left, under its own spelling.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, At)> {
        let path = self.path;
        self.left.into_iter().map(move |(key, json)| {
            let path = join(&path, &key);
            (key, At { json, path })
        })
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}
