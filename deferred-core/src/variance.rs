//! Doc tests: every handle is invariant in its type parameters, so no coercion can change the types
//! with which the other end, or a key of the reactor, was created. Two function types, one of which
//! coerces to the other, show it.

macro_rules! invariant {
    ($($name:ident = $handle:literal)*) => {$(
        #[doc = concat!("```\n", include_str!("variance.in"), "type H<X> = ", $handle, ";\n",
            "fn same(handle: H<Wide>) -> H<Wide> { handle }\n```\n")]
        #[doc = concat!("```compile_fail,E0308\n", include_str!("variance.in"), "type H<X> = ", $handle, ";\n",
            "fn narrower(handle: H<Wide>) -> H<Narrow> { handle }\n```\n")]
        #[doc = concat!("```compile_fail,E0308\n", include_str!("variance.in"), "type H<X> = ", $handle, ";\n",
            "fn wider(handle: H<Narrow>) -> H<Wide> { handle }\n```\n")]
        pub struct $name;
    )*};
}

invariant! {
    DeferredValue = "Deferred<X>"
    DeferredError = "Deferred<(), Error<X>>"
    ResolverValue = "Resolver<X>"
    ResolverError = "Resolver<(), Error<X>>"
    WaitValue = "Wait<X>"
    WaitError = "Wait<(), Error<X>>"
    SharedValue = "Shared<X>"
    PermitError = "Permit<Error<X>>"
    LockError = "DeferredLock<Error<X>>"
    SemaphoreError = "DeferredSemaphore<Error<X>>"
    GateError = "Gate<Error<X>>"
    GateGuardError = "GateGuard<Error<X>>"
    QueueValue = "DeferredQueue<X>"
    QueueError = "DeferredQueue<(), Error<X>>"
    StreamValue = "QueueStream<X>"
    SinkValue = "QueueSink<X>"
    ScopeError = "Scope<Error<X>>"
    OutcomeValue = "Outcome<X>"
    OutcomeError = "Outcome<(), Error<X>>"
    RemoteResolverValue = "RemoteResolver<X>"
    RemoteResolverError = "RemoteResolver<(), Error<X>>"
    RemoteSenderValue = "RemoteSender<X>"
    RemoteSenderError = "RemoteSender<(), Error<X>>"
    RemoteFutureValue = "RemoteFuture<X>"
    RemoteFutureError = "RemoteFuture<(), Error<X>>"
    RemoteCompleterValue = "RemoteCompleter<X>"
    RemoteCompleterError = "RemoteCompleter<(), Error<X>>"
    LoopingCallError = "LoopingCall<Error<X>>"
    TrappedError = "Trapped<Error<X>>"
}
