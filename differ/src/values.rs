// The values in a program's chains and captures: each kind has a number, a pattern and a counted
// drop. Included beside play.rs, once for each engine.

/// A value that must be dropped exactly once.
#[derive(Debug)]
struct Token(u32);

impl Token {
    fn new() -> Token {
        world(|world| {
            let mut tokens = world.tokens.borrow_mut();
            tokens.push(true);
            Token(tokens.len() as u32 - 1)
        })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let number = self.0;
        note(What::Dropped, number, 0);
        let alive = world(|world| std::mem::take(&mut world.tokens.borrow_mut()[number as usize]));
        if !alive {
            note(What::DroppedTwice, number, 0);
        }
        let bomb = world(|world| {
            let mut bombs = world.bombs.borrow_mut();
            bombs.iter().position(|&bomb| bomb == number).map(|at| bombs.swap_remove(at))
        });
        if bomb.is_some() && !std::thread::panicking() {
            resume_unwind(Box::new(format!("bomb {number}")));
        }
    }
}

/// A type of results and captures.
#[allow(clippy::result_large_err)] // a failed conversion returns its argument
trait Kept: Sized + 'static {
    fn make() -> Self;
    /// Returns the number of the value, after a check that it is not corrupted.
    fn number(&self) -> u32;
    fn wrap(deferred: Deferred<Self>) -> Any;
    fn wrap_resolver(resolver: Resolver<Self>) -> AnyResolver;
    fn unwrap(any: Any) -> Result<Deferred<Self>, Any>;
    fn unwrap_resolver(any: AnyResolver) -> Result<Resolver<Self>, AnyResolver>;
}

#[derive(Debug)]
struct Zero;

impl Drop for Zero {
    fn drop(&mut self) {
        note(What::Dropped, u32::MAX, 0);
        world(|world| world.zeros.set(world.zeros.get() - 1));
    }
}

#[derive(Debug)]
struct Small(Token);

#[derive(Debug)]
struct Large(Token, [u64; 9]);

#[derive(Debug)]
#[repr(align(64))]
struct Wide([u8; 3], Token);

macro_rules! kept {
    ($name:ident, $make:expr, |$it:ident| $whole:expr, $number:expr) => {
        impl Kept for $name {
            fn make() -> Self {
                $make
            }

            fn number(&self) -> u32 {
                let $it = self;
                let aligned = (self as *const Self).is_aligned();
                if !aligned || !$whole {
                    note(What::Corrupt, $number, 0);
                }
                $number
            }

            fn wrap(deferred: Deferred<Self>) -> Any {
                Any::$name(deferred)
            }

            fn wrap_resolver(resolver: Resolver<Self>) -> AnyResolver {
                AnyResolver::$name(resolver)
            }

            fn unwrap(any: Any) -> Result<Deferred<Self>, Any> {
                if let Any::$name(deferred) = any { Ok(deferred) } else { Err(any) }
            }

            fn unwrap_resolver(any: AnyResolver) -> Result<Resolver<Self>, AnyResolver> {
                if let AnyResolver::$name(resolver) = any { Ok(resolver) } else { Err(any) }
            }
        }
    };
}

kept!(
    Zero,
    {
        world(|world| world.zeros.set(world.zeros.get() + 1));
        Zero
    },
    |_it| true,
    1_000_000
);
kept!(Small, Small(Token::new()), |_it| true, _it_number(&_it.0));
kept!(
    Large,
    {
        let token = Token::new();
        let fill = u64::from(token.0) * 0x0101_0101;
        Large(token, [fill; 9])
    },
    |_it| _it.1 == [u64::from(_it.0.0) * 0x0101_0101; 9],
    _it_number(&_it.0)
);
kept!(
    Wide,
    {
        let token = Token::new();
        Wide([token.0 as u8; 3], token)
    },
    |_it| _it.0 == [_it.1.0 as u8; 3],
    _it_number(&_it.1)
);

fn _it_number(token: &Token) -> u32 {
    token.0
}

macro_rules! any {
    ($any:ident, $what:ident) => {
        enum $any {
            Zero($what<Zero>),
            Small($what<Small>),
            Large($what<Large>),
            Wide($what<Wide>),
        }
    };
}

any!(Any, Deferred);
any!(AnyResolver, Resolver);

/// Runs `$body` with `$it` bound to the contents of `$any`, whatever its shape.
macro_rules! each {
    ($kind:ident, $any:expr, $it:ident => $body:expr) => {
        match $any {
            $kind::Zero($it) => $body,
            $kind::Small($it) => $body,
            $kind::Large($it) => $body,
            $kind::Wide($it) => $body,
        }
    };
}

/// Runs `$body` with the type `$name` of a shape.
macro_rules! shaped {
    ($shape:expr, $name:ident => $body:expr) => {
        match $shape {
            Shape::Zero => {
                type $name = Zero;
                $body
            }
            Shape::Small => {
                type $name = Small;
                $body
            }
            Shape::Large => {
                type $name = Large;
                $body
            }
            Shape::Wide => {
                type $name = Wide;
                $body
            }
        }
    };
}
