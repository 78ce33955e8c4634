//! A million at once, and many inside each other.

use deferred_core::{Deferred, Failure, deferred_list, gather, race};

use crate::support::{MANY, on_a_small_stack, taken};

#[test]
fn a_gather_of_a_million_fires_and_is_cancelled() {
    on_a_small_stack(|| {
        let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| Deferred::<u64>::new()).unzip();
        let all = gather(deferreds).map(|values| values.into_iter().sum::<u64>()).map_err(Failure::from);
        resolvers.into_iter().zip(0..).for_each(|(resolver, n)| resolver.callback(n));
        assert_eq!(taken(all), (MANY * (MANY - 1) / 2).to_string());

        let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| Deferred::<u64>::new()).unzip();
        let all = deferred_list(deferreds).map(|results| results.iter().filter(|result| result.is_err()).count());
        all.cancel();
        assert_eq!(taken(all), MANY.to_string());
        assert!(resolvers.iter().all(deferred_core::Resolver::is_cancelled));
    });
}

#[test]
fn a_million_gathers_and_races_inside_each_other_fire_and_are_cancelled() {
    on_a_small_stack(|| {
        for cancels in [false, true] {
            for races in [false, true] {
                let (mut deferred, resolver) = Deferred::<u64>::new();
                for _ in 0..MANY {
                    deferred = if races {
                        race([deferred])
                            .map(|(_, value)| value + 1)
                            .map_err(|group| group.into_errors().into_iter().next().expect("one"))
                    } else {
                        gather([deferred]).map(|values| values[0] + 1).map_err(|first| first.error)
                    };
                }
                if cancels {
                    deferred.cancel();
                    assert_eq!(taken(deferred), "Cancelled");
                    drop(resolver);
                } else {
                    resolver.callback(0);
                    assert_eq!(taken(deferred), MANY.to_string());
                }
            }
        }
    });
}
