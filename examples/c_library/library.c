/* A small library in the style of many C libraries: it works on its own threads, and calls back with a void pointer. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static void pause_for(int millis) {
    struct timespec time = {millis / 1000, (long)(millis % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static int start(void *(*work)(void *), void *task) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, task) != 0) {
        return -1;
    }
    pthread_detach(thread);
    return 0;
}

/* A single answer. */

struct question {
    int number;
    void (*on_answer)(void *context, int answer);
    void *context;
};

static void *answer(void *task) {
    struct question question = *(struct question *)task;
    free(task);
    pause_for(30);
    question.on_answer(question.context, question.number * 2);
    return NULL;
}

/* Calls on_answer once, on a thread of the library, and returns 0; or returns -1 and does not call it. Negative numbers
   are refused. */
int library_ask(int number, void (*on_answer)(void *context, int answer), void *context) {
    struct question *question = number < 0 ? NULL : malloc(sizeof *question);
    if (question == NULL) {
        return -1;
    }
    *question = (struct question){number, on_answer, context};
    if (start(answer, question) != 0) {
        free(question);
        return -1;
    }
    return 0;
}

/* Repeated readings. */

struct subscription {
    atomic_bool ends;
    void (*on_reading)(void *context, int reading);
    void (*on_end)(void *context);
    void *context;
};

static void *run_subscription(void *task) {
    struct subscription *subscription = task;
    for (int reading = 1; !atomic_load(&subscription->ends); reading++) {
        subscription->on_reading(subscription->context, reading);
        pause_for(5);
    }
    subscription->on_end(subscription->context);
    free(subscription);
    return NULL;
}

/* Calls on_reading repeatedly on a thread of the library, and on_end last, after which it does not use the context.
   Or returns NULL and calls neither. */
struct subscription *library_subscribe(void (*on_reading)(void *context, int reading), void (*on_end)(void *context),
                                       void *context) {
    struct subscription *subscription = malloc(sizeof *subscription);
    if (subscription == NULL) {
        return NULL;
    }
    atomic_init(&subscription->ends, 0);
    subscription->on_reading = on_reading;
    subscription->on_end = on_end;
    subscription->context = context;
    if (start(run_subscription, subscription) != 0) {
        free(subscription);
        return NULL;
    }
    return subscription;
}

/* Returns at once; on_reading may be called a few more times before on_end. Must be called once. */
void library_unsubscribe(struct subscription *subscription) {
    atomic_store(&subscription->ends, 1);
}
