"""From streams to subscribers: every committed entry, to everybody who reads, at once. Knows no HTTP.

A `Subscriber` is one reader: a cursor on a stream, a dialect, and a way for its bytes. The subscribers of a stream in
this process share a `Channel`; the `Fanout` has all channels, one flush for those with news, and one sweep a second.

=====  ================================================================  ==============================================
state  what is true of a subscriber                                      what leads out of it
=====  ================================================================  ==============================================
open   it takes bytes: each flush writes what came after its index       a write that its connection does not take
full   it is passed over; its index stays; nothing is queued for it      its connection drains: it marks its channel
left   it is in no channel                                               nothing: a reader who returns is another one
=====  ================================================================  ==============================================

**Who calls what.** An engine commits and calls `Channel.mark`, as a subscriber does that can take more. The flush
renders (`Channel.render`), writes (`Subscriber.write`) and never waits. `Subscriber.cut` ends one without the end of
its response: on shutdown, after ``send_timeout``, or when rendering or writing fails; nothing that is wrong with one
subscriber reaches another. All of it runs on the event loop's thread.

**What it costs.** A write to a socket is 5 to 6 CPU-µs in the kernel, and the rest is kept below that: no task, queue,
lock or timer per reader or event; readers at one place share one rendering; flushes that take long come less often.
"""
