"""Answers that survive a reload, a second tab, a deploy and a killed process, in a FastAPI app: docs/embedding.md."""

from fastapi import FastAPI, Response
from openai import AsyncOpenAI
from pydantic import BaseModel

from tickertape import ANYONE, Streams

client = AsyncOpenAI()
streams = Streams("sqlite:///tape.db", owner=ANYONE, dialect="openai")
app = FastAPI(lifespan=streams.lifespan)
app.mount("/streams", streams.app)


class Question(BaseModel):
    text: str


@app.post("/chat")
async def chat(question: Question) -> Response:
    answer = client.chat.completions.create(
        model="gpt-5", messages=[{"role": "user", "content": question.text}], stream=True
    )
    return streams.response(answer)
