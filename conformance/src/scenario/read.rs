//! Conversion of JSON to [`Scenario`].

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::slice;

use serde_json::{Value as Json, json};

use super::{
    Action, Canceller, ChainStep, End, InlineStep, ManyStep, Name, Return, Scenario, Statement, Step, SyncStep,
    TimeStep, What,
};

/// The error of a line that is not in the format.
#[derive(Debug)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

fn malformed(wanted: &str, found: &Json) -> Malformed {
    Malformed(format!("expected {wanted}, found {found}"))
}

/// A type that can be read from a JSON value.
trait Read: Sized {
    fn read(json: &Json) -> Result<Self, Malformed>;
}

impl Scenario {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if the line is not JSON or not in the format.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let json: Json = serde_json::from_str(line).map_err(|error| Malformed(format!("not JSON: {error}")))?;
        let end = match json["end"].as_str() {
            Some("results") => End::Results,
            Some("unhandled") => End::Unhandled,
            _ => {
                return Err(malformed("\"results\" or \"unhandled\" as \"end\"", &json["end"]));
            }
        };
        let mut expected = Vec::read(&json["trace"])?;
        match end {
            End::Results => {
                let results = json["final"].as_object();
                let results = results.ok_or_else(|| malformed("an object as \"final\"", &json["final"]))?;
                expected.extend(results.iter().map(|(name, outcome)| json!(["final", name, outcome])));
            }
            End::Unhandled => {
                let mut errors = Vec::<String>::read(&json["unhandled"])?
                    .iter()
                    .map(|error| serde_json::from_str(error).map_err(|_| malformed("JSON text", &json!(error))))
                    .collect::<Result<Vec<Json>, _>>()?;
                errors.sort_by_key(Json::to_string);
                expected.extend(errors.iter().map(|error| json!(["unhandled", error])));
            }
        }
        Ok(Self { id: Read::read(&json["id"])?, end, steps: Read::read(&json["steps"])?, expected })
    }
}

/// The fields of a row, after its first word.
struct Fields<'a> {
    row: &'a Json,
    rest: slice::Iter<'a, Json>,
}

impl<'a> Fields<'a> {
    fn of(row: &'a Json) -> Result<(&'a str, Self), Malformed> {
        let mut rest = row.as_array().ok_or_else(|| malformed("a row", row))?.iter();
        let word = rest.next().and_then(Json::as_str);
        let word = word.ok_or_else(|| malformed("a row that begins with a word", row))?;
        Ok((word, Self { row, rest }))
    }

    fn take<T: Read>(&mut self) -> Result<T, Malformed> {
        T::read(self.rest.next().ok_or_else(|| malformed("more fields", self.row))?)
    }

    fn end(mut self) -> Result<(), Malformed> {
        self.rest.next().map_or(Ok(()), |_| Err(malformed("fewer fields", self.row)))
    }
}

impl Read for Step {
    fn read(json: &Json) -> Result<Self, Malformed> {
        let (word, mut f) = Fields::of(json)?;
        let what = match word {
            "new" => What::Chain(ChainStep::New(f.take()?, f.take()?)),
            "succeed" => What::Chain(ChainStep::Succeed(f.take()?, f.take()?)),
            "fail" => What::Chain(ChainStep::Fail(f.take()?, f.take()?)),
            "callback" => What::Chain(ChainStep::Callback(f.take()?, f.take()?)),
            "errback" => What::Chain(ChainStep::Errback(f.take()?, f.take()?)),
            "add_callback" => What::Chain(ChainStep::AddCallback(f.take()?, f.take()?)),
            "add_errback" => What::Chain(ChainStep::AddErrback(f.take()?, f.take()?)),
            "add_both" => What::Chain(ChainStep::AddBoth(f.take()?, f.take()?)),
            "add_callbacks" => What::Chain(ChainStep::AddCallbacks(f.take()?, f.take()?, f.take()?)),
            "cancel" => What::Chain(ChainStep::Cancel(f.take()?)),
            "pause" => What::Chain(ChainStep::Pause(f.take()?)),
            "unpause" => What::Chain(ChainStep::Unpause(f.take()?)),
            "chain_deferred" => What::Chain(ChainStep::ChainDeferred(f.take()?, f.take()?)),
            "log" => What::Chain(ChainStep::Log(f.take()?)),

            "gather" => What::Many(ManyStep::Gather(f.take()?, f.take()?)),
            "list" => What::Many(ManyStep::List(f.take()?, f.take()?, f.take()?, f.take()?)),
            "race" => What::Many(ManyStep::Race(f.take()?, f.take()?)),

            "advance" => What::Time(TimeStep::Advance(f.take()?)),
            "call_later" => What::Time(TimeStep::CallLater(f.take()?, f.take()?, f.take()?)),
            "call_cancel" => What::Time(TimeStep::CallCancel(f.take()?)),
            "call_reset" => What::Time(TimeStep::CallReset(f.take()?, f.take()?)),
            "call_delay" => What::Time(TimeStep::CallDelay(f.take()?, f.take()?)),
            "call_active" => What::Time(TimeStep::CallActive(f.take()?)),
            "timeout" => What::Time(TimeStep::Timeout(f.take()?, f.take()?, f.take()?)),
            "defer_later" => What::Time(TimeStep::DeferLater(f.take()?, f.take()?, f.take()?)),
            "loop" => What::Time(TimeStep::Loop {
                name: f.take()?,
                done: f.take()?,
                interval: f.take()?,
                now: f.take()?,
                counted: f.take()?,
                action: f.take()?,
            }),
            "loop_stop" => What::Time(TimeStep::LoopStop(f.take()?)),
            "loop_reset" => What::Time(TimeStep::LoopReset(f.take()?)),

            "queue" => What::Sync(SyncStep::Queue(f.take()?, f.take()?, f.take()?)),
            "put" => What::Sync(SyncStep::Put(f.take()?, f.take()?)),
            "get" => What::Sync(SyncStep::Get(f.take()?, f.take()?)),
            "lock" => What::Sync(SyncStep::Lock(f.take()?)),
            "semaphore" => What::Sync(SyncStep::Semaphore(f.take()?, f.take()?)),
            "acquire" => What::Sync(SyncStep::Acquire(f.take()?, f.take()?)),
            "release" => What::Sync(SyncStep::Release(f.take()?)),
            "run" => What::Sync(SyncStep::Run(f.take()?, f.take()?, f.take()?)),

            "inline" => What::Inline(InlineStep::Inline(f.take()?, f.take()?)),
            _ => return Err(malformed("a step", json)),
        };
        f.end()?;
        Ok(Self { word: word.to_owned(), what })
    }
}

impl Read for Statement {
    fn read(json: &Json) -> Result<Self, Malformed> {
        let (word, mut f) = Fields::of(json)?;
        let statement = match word {
            "log" => Self::Log(f.take()?),
            "do" => Self::Do(f.take()?),
            "await" => Self::Await(f.take()?, f.take()?, f.take()?),
            "return" => Self::Return(f.take()?),
            "raise" => Self::Raise(f.take()?),
            _ => return Err(malformed("a statement", json)),
        };
        f.end()?;
        Ok(statement)
    }
}

impl Read for Canceller {
    fn read(json: &Json) -> Result<Self, Malformed> {
        if json == "noop" {
            return Ok(Self::Noop);
        }
        let (word, mut f) = Fields::of(json)?;
        let canceller = match word {
            "callback" => Self::Callback(f.take()?),
            "errback" => Self::Errback(f.take()?),
            _ => return Err(malformed("a canceller", json)),
        };
        f.end()?;
        Ok(canceller)
    }
}

impl Read for Rc<Action> {
    fn read(json: &Json) -> Result<Self, Malformed> {
        let optional = |key: &str| json.get(key).unwrap_or(&Json::Null);
        Ok(Self::new(Action {
            id: Read::read(&json["id"])?,
            steps: Option::read(optional("do"))?.unwrap_or_default(),
            returns: read_returns(&json["return"])?,
            times: Read::read(optional("times"))?,
            runs: Cell::new(0),
        }))
    }
}

fn read_returns(json: &Json) -> Result<Vec<Return>, Malformed> {
    match Fields::of(json)? {
        ("seq", mut f) => {
            let returns: Vec<Return> = f.take()?;
            f.end()?;
            if returns.is_empty() { Err(malformed("a return", json)) } else { Ok(returns) }
        }
        _ => Ok(vec![Read::read(json)?]),
    }
}

impl Read for Return {
    fn read(json: &Json) -> Result<Self, Malformed> {
        let (word, mut f) = Fields::of(json)?;
        let returned = match word {
            "same" => Self::Same,
            "value" => Self::Value(f.take()?),
            "add" => Self::Add(f.take()?),
            "raise" => Self::Raise(f.take()?),
            "deferred" => Self::Deferred(f.take()?),
            _ => return Err(malformed("a return", json)),
        };
        f.end()?;
        Ok(returned)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_array().ok_or_else(|| malformed("a list", json))?.iter().map(T::read).collect()
    }
}

impl<T: Read> Read for Rc<[T]> {
    fn read(json: &Json) -> Result<Self, Malformed> {
        Vec::read(json).map(Self::from)
    }
}

impl<T: Read> Read for Option<T> {
    fn read(json: &Json) -> Result<Self, Malformed> {
        if json.is_null() { Ok(None) } else { T::read(json).map(Some) }
    }
}

impl Read for Json {
    fn read(json: &Json) -> Result<Self, Malformed> {
        Ok(json.clone())
    }
}

impl Read for String {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_str().map(Self::from).ok_or_else(|| malformed("a string", json))
    }
}

impl Read for Name {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_str().map(Self::from).ok_or_else(|| malformed("a name", json))
    }
}

impl Read for bool {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_bool().ok_or_else(|| malformed("true or false", json))
    }
}

impl Read for i64 {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_i64().ok_or_else(|| malformed("an integer", json))
    }
}

impl Read for u64 {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_u64().ok_or_else(|| malformed("a count", json))
    }
}

impl Read for usize {
    fn read(json: &Json) -> Result<Self, Malformed> {
        u64::read(json)?.try_into().map_err(|_| malformed("a count", json))
    }
}

impl Read for f64 {
    fn read(json: &Json) -> Result<Self, Malformed> {
        json.as_f64().ok_or_else(|| malformed("seconds", json))
    }
}
