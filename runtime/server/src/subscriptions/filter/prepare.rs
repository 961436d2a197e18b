//! Checking a parsed filter and putting its bounds into it.
//!
//! Every part that costs more than a constant is preceded by a step, and a call followed by one: `f(x)` becomes
//! `@step() ? @bounded(f(@read(x))) : null`, where `@read` takes steps by the size of `x`, and `@copied` more of them. Loops get theirs in their condition, or, where the interpreter knows the shape of
//! `map` and `filter` by it, in their guard and element. `matches` gets its pattern compiled here, which is why that must be
//! a literal.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SourceInfo, operators,
};
use cel::common::types::CelInt;
use regex::RegexBuilder;

use super::FILTER_DEPTH_MAX;
use super::fault::FilterFault;
use super::meter::{BOUNDED, COPIED, MATCHES, Pattern, READ, STEP};

/// Parts of an expression that are walked through for the price of a step.
const NODES_PER_STEP: usize = 2;

/// Loops within loops: `data.a.exists(x, x.b.exists(y, …))` is two.
const LOOPS_NESTED_MAX: usize = 2;

/// Sizes of a compiled pattern, in bytes, and their weights: the size bounds the states that a match may have to keep for
/// each byte of the text. A larger one is refused.
const PATTERN_SIZES: [(usize, usize); 3] = [(4 * 1024, 2), (16 * 1024, 8), (64 * 1024, 32)];

/// Most patterns of one filter.
const PATTERNS_MAX: usize = 16;

/// The two variables.
const VARIABLES: [&str; 2] = ["event", "data"];

/// Names of types, which `type(x)` can be compared to.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// Functions that a filter may call, macros aside.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// Operators that look at one value and cost nothing to speak of.
const CHEAP: [&str; 6] = [
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::CONDITIONAL,
    operators::INDEX,
];

/// Operators that do work.
const OPERATORS: [&str; 13] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::NEGATE,
    operators::IN,
];

/// An expression that can be evaluated within bounds.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) expression: IdedExpr,
    pub(super) patterns: Vec<Pattern>,
    /// Whether it names `data`.
    pub(super) reads_data: bool,
}

/// Checks the expression and puts its bounds in.
pub(super) fn prepare(expression: IdedExpr, places: &SourceInfo) -> Result<Prepared, FilterFault> {
    let mut work = Work {
        places,
        patterns: Vec::new(),
        reads_data: false,
        names: Vec::new(),
        loops: 0,
    };
    let expression = work.walk(expression, 0)?;
    Ok(Prepared {
        expression,
        patterns: work.patterns,
        reads_data: work.reads_data,
    })
}

struct Work<'a> {
    places: &'a SourceInfo,
    patterns: Vec<Pattern>,
    reads_data: bool,
    /// Variables of the loops around.
    names: Vec<String>,
    loops: usize,
}

impl Work<'_> {
    fn walk(&mut self, expression: IdedExpr, depth: usize) -> Result<IdedExpr, FilterFault> {
        let IdedExpr { id, expr } = expression;
        if depth > FILTER_DEPTH_MAX {
            return self.fault(id, &format!("it is nested deeper than {FILTER_DEPTH_MAX}"));
        }
        let depth = depth + 1;
        let expr = match expr {
            Expr::Literal(literal) => Expr::Literal(literal),
            Expr::Ident(name) => {
                self.check_name(id, &name)?;
                Expr::Ident(name)
            }
            Expr::Select(mut select) => {
                *select.operand = self.walk(*select.operand, depth)?;
                Expr::Select(select)
            }
            Expr::List(list) => {
                let elements = list.elements.into_iter();
                let elements = elements.map(|element| Ok(kept(self.walk(element, depth)?)));
                Expr::List(ListExpr::new(elements.collect::<Result<_, FilterFault>>()?))
            }
            Expr::Map(mut map) => {
                for entry in &mut map.entries {
                    match &mut entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            entry.key = kept(self.walk(std::mem::take(&mut entry.key), depth)?);
                            entry.value = kept(self.walk(std::mem::take(&mut entry.value), depth)?);
                        }
                        EntryExpr::StructField(_) => return self.fault(id, "messages cannot be made here"),
                    }
                }
                Expr::Map(map)
            }
            Expr::Call(call) => return self.call(id, call, depth),
            Expr::Comprehension(comprehension) => return self.comprehension(id, *comprehension, depth),
            Expr::Struct(_) | Expr::Unspecified => return self.fault(id, "messages cannot be made here"),
        };
        Ok(IdedExpr { id, expr })
    }

    fn call(&mut self, id: u64, mut call: CallExpr, depth: usize) -> Result<IdedExpr, FilterFault> {
        let name = call.func_name.as_str();
        let cheap = CHEAP.contains(&name);
        if !cheap && !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            return self.fault(
                id,
                &format!("no function {name}; there are has, all, exists, exists_one, map, filter, {known}"),
            );
        }
        if name == "matches" {
            return self.matches(id, call, depth);
        }
        call.target = match call.target {
            Some(target) => Some(Box::new(self.walk(*target, depth)?)),
            None => None,
        };
        call.args = self.walk_all(call.args, depth)?;
        if !cheap {
            let copies = [operators::ADD, "string", "bytes"].contains(&call.func_name.as_str());
            let price = if copies { COPIED } else { READ };
            call.target = call.target.map(|target| Box::new(priced(price, *target)));
            call.args = call.args.into_iter().map(|argument| priced(price, argument)).collect();
        }
        let done = IdedExpr {
            id,
            expr: Expr::Call(call),
        };
        Ok(if cheap { done } else { paid(done) })
    }

    /// `text.matches(pattern)` or `matches(text, pattern)`: the pattern is compiled here, once and within its own bound.
    fn matches(&mut self, id: u64, call: CallExpr, depth: usize) -> Result<IdedExpr, FilterFault> {
        let mut arguments: Vec<IdedExpr> = call.target.into_iter().map(|target| *target).chain(call.args).collect();
        let (Some(pattern), Some(text), None) = (arguments.pop(), arguments.pop(), arguments.pop()) else {
            return self.fault(id, "matches takes a text and a pattern");
        };
        let Expr::Literal(LiteralValue::String(written)) = &pattern.expr else {
            return self.fault(pattern.id, "the pattern of matches must be a literal");
        };
        if self.patterns.len() == PATTERNS_MAX {
            return self.fault(pattern.id, &format!("more than {PATTERNS_MAX} patterns"));
        }
        match compiled(written.inner()) {
            Ok(compiled) => self.patterns.push(compiled),
            Err(regex::Error::CompiledTooBig(_)) => {
                return self.fault(pattern.id, "the pattern is too large when compiled");
            }
            Err(error) => {
                let last = error.to_string();
                let last = last.lines().next_back().unwrap_or_default().to_owned();
                return self.fault(pattern.id, &format!("the pattern is no regular expression: {last}"));
            }
        }
        let number = i64::try_from(self.patterns.len() - 1).unwrap_or(i64::MAX);
        let number = IdedExpr {
            id: pattern.id,
            expr: Expr::Literal(LiteralValue::Int(CelInt::from(number))),
        };
        let text = self.walk(text, depth)?;
        Ok(paid(called(MATCHES, vec![text, number])))
    }

    fn comprehension(&mut self, id: u64, loops: ComprehensionExpr, depth: usize) -> Result<IdedExpr, FilterFault> {
        if self.loops == LOOPS_NESTED_MAX {
            return self.fault(id, &format!("loops are nested deeper than {LOOPS_NESTED_MAX}"));
        }
        // Each element is copied for its turn.
        let iter_range = priced(COPIED, self.walk(loops.iter_range, depth)?);
        let accu_init = self.walk(loops.accu_init, depth)?;
        let before = self.names.len();
        self.names.extend([loops.iter_var.clone(), loops.accu_var.clone()]);
        self.names.extend(loops.iter_var2.clone());
        self.loops += 1;
        let turn = 1 + nodes(&loops.loop_step) / NODES_PER_STEP;
        let appends = is_literal(&loops.loop_cond);
        let loop_cond = self.walk(loops.loop_cond, depth)?;
        let loop_step = if appends {
            // The interpreter appends in place where it knows this shape, and copies the whole list each turn where not.
            self.appending(loops.loop_step, &loops.accu_var, turn, depth)?
        } else {
            self.walk(loops.loop_step, depth)?
        };
        let result = self.walk(loops.result, depth)?;
        self.loops -= 1;
        self.names.truncate(before);
        Ok(IdedExpr {
            id,
            expr: Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range,
                iter_var: loops.iter_var,
                iter_var2: loops.iter_var2,
                accu_var: loops.accu_var,
                accu_init,
                loop_cond: if appends { loop_cond } else { guarded(loop_cond, turn) },
                loop_step,
                result,
            })),
        })
    }

    /// `accu + [element]`, or `guard ? accu + [element] : accu`, kept in that shape. Any other step of a loop whose condition
    /// is a literal is walked as it stands, inside a step of its own.
    fn appending(&mut self, step: IdedExpr, accu: &str, turn: usize, depth: usize) -> Result<IdedExpr, FilterFault> {
        let IdedExpr { id, expr } = step;
        match expr {
            Expr::Call(mut call) if call.func_name == operators::CONDITIONAL && call.args.len() == 3 => {
                let otherwise = call.args.pop().unwrap_or_default();
                let append = call.args.pop().unwrap_or_default();
                let guard = call.args.pop().unwrap_or_default();
                call.args = vec![
                    guarded(self.walk(guard, depth)?, turn),
                    self.appending(append, accu, turn, depth + 1)?,
                    self.walk(otherwise, depth)?,
                ];
                let expr = Expr::Call(call);
                Ok(IdedExpr { id, expr })
            }
            Expr::Call(mut call) if appends_to(&call, accu) => {
                // The elements of the list bring their own steps.
                call.args = self.walk_all(call.args, depth)?;
                let expr = Expr::Call(call);
                Ok(IdedExpr { id, expr })
            }
            expr => Ok(stepped(self.walk(IdedExpr { id, expr }, depth)?)),
        }
    }

    fn walk_all(&mut self, expressions: Vec<IdedExpr>, depth: usize) -> Result<Vec<IdedExpr>, FilterFault> {
        expressions
            .into_iter()
            .map(|expression| self.walk(expression, depth))
            .collect()
    }

    fn check_name(&mut self, id: u64, name: &str) -> Result<(), FilterFault> {
        if self.names.iter().any(|known| known == name) || TYPES.contains(&name) {
            return Ok(());
        }
        if !VARIABLES.contains(&name) {
            return self.fault(id, &format!("no variable {name}; there are event and data"));
        }
        self.reads_data |= name == "data";
        Ok(())
    }

    fn fault<T>(&self, id: u64, problem: &str) -> Result<T, FilterFault> {
        let Some((start, _)) = self.places.offset_for(id) else {
            return Err(FilterFault::whole(problem));
        };
        let before: Vec<char> = self.places.source.chars().take(start as usize).collect();
        let line = 1 + before.iter().filter(|c| **c == '\n').count();
        let column = 1 + before.iter().rev().take_while(|c| **c != '\n').count();
        Err(FilterFault::at((line, column), problem))
    }
}

/// How many parts an expression has.
fn nodes(expression: &IdedExpr) -> usize {
    let all = |expressions: &[IdedExpr]| expressions.iter().map(nodes).sum::<usize>();
    1 + match &expression.expr {
        Expr::Call(call) => call.target.as_deref().map_or(0, nodes) + all(&call.args),
        Expr::Select(select) => nodes(&select.operand),
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => nodes(&entry.key) + nodes(&entry.value),
                EntryExpr::StructField(field) => nodes(&field.value),
            });
            entries.sum()
        }
        Expr::Comprehension(inner) => {
            nodes(&inner.iter_range) + nodes(&inner.accu_init) + nodes(&inner.loop_step) + nodes(&inner.result)
        }
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => 0,
    }
}

/// The pattern, in the smallest size that it fits.
fn compiled(written: &str) -> Result<Pattern, regex::Error> {
    let mut too_large = regex::Error::CompiledTooBig(0);
    for (bytes_max, weight) in PATTERN_SIZES {
        match RegexBuilder::new(written).size_limit(bytes_max).build() {
            Ok(regex) => return Ok(Pattern { regex, weight }),
            Err(error @ regex::Error::CompiledTooBig(_)) => too_large = error,
            Err(error) => return Err(error),
        }
    }
    Err(too_large)
}

fn is_literal(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Literal(_))
}

fn appends_to(call: &CallExpr, accu: &str) -> bool {
    call.func_name == operators::ADD
        && matches!(call.args.as_slice(), [
            IdedExpr { expr: Expr::Ident(name), .. },
            IdedExpr { expr: Expr::List(_), .. },
        ] if name == accu)
}

fn called(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let expr = Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    });
    IdedExpr { id: 0, expr }
}

/// `@step() ? expression : null`. A literal costs nothing and stays as it is.
fn stepped(expression: IdedExpr) -> IdedExpr {
    if is_literal(&expression) {
        return expression;
    }
    let null = IdedExpr {
        id: 0,
        expr: Expr::Literal(LiteralValue::Null),
    };
    called(operators::CONDITIONAL, vec![called(STEP, Vec::new()), expression, null])
}

/// An element of a list or map, which is copied into it.
fn kept(element: IdedExpr) -> IdedExpr {
    stepped(priced(COPIED, element))
}

/// The value, paid for by its size. A literal was paid for when it was written.
fn priced(price: &str, value: IdedExpr) -> IdedExpr {
    if is_literal(&value) {
        return value;
    }
    called(price, vec![value])
}

/// A call with a step before it and one after. The one before comes before its arguments too, so that a chain of calls would
/// take all of its steps before it did any of its work; the one after stops it between two of them.
fn paid(call: IdedExpr) -> IdedExpr {
    stepped(called(BOUNDED, vec![call]))
}

/// `@step(n) ? condition : false`, also for a literal: it is what a loop pays for each turn, by how much there is to walk
/// through in one.
fn guarded(condition: IdedExpr, turn: usize) -> IdedExpr {
    let turn = i64::try_from(turn).unwrap_or(i64::MAX);
    let turn = IdedExpr {
        id: 0,
        expr: Expr::Literal(LiteralValue::Int(CelInt::from(turn))),
    };
    let no = IdedExpr {
        id: 0,
        expr: Expr::Literal(LiteralValue::Boolean(false.into())),
    };
    called(operators::CONDITIONAL, vec![called(STEP, vec![turn]), condition, no])
}
