"""Conversations: trees of messages; an assistant's message points at the streams that made it. Knows no HTTP.

An application that has no use for the server uses `tickertape.conversations.service.ConversationService`. The modules,
from the top down:

    service        asks, continues, deletes; joins the store with the streams and the generations
    change_feed    what changes in an owner's conversations, as it happens
    async_store    the store on the event loop, in threads of its own
    store          the contract of a store · models: the values in it · export: JSON and Markdown
    sqlite         the file, and all that concerns SQLite alone
    sql_store      one transaction a call, over
                   messages, prompt, finalize, lifecycle, queries, changelog, text_search, checksums, schema

Below `sqlite` SQLAlchemy is imported, with the first conversation: that costs 0.12 s of processor time and 12 MB, which
a server that only streams need not pay.
"""
