// The smallest agent of the Vercel AI SDK: it must call a tool, then says a word, and is asked once more in the same conversation.
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { stepCountIs, streamText, tool } from 'ai';
import { writeFileSync } from 'node:fs';
import { z } from 'zod';

const { GATEWAY: url, KEY: apiKey, MODEL: id, TASK: task, FILE: file } = process.env;
const at = { name: 'palimpsest', baseURL: `${url}/v1`, apiKey };
const model = {
  responses: () => createOpenAI(at)(id),
  chat: () => createOpenAICompatible(at)(id),
  messages: () => createAnthropic(at)(`claude-${id}`),
}[process.argv[2]]();
const write = tool({
  description: 'Write a file.',
  inputSchema: z.object({ path: z.enum([file]), content: z.enum(['hello world', 'good morning', 'good evening']) }),
  strict: true,
  execute: ({ path, content }) => { writeFileSync(path, content); return 'written'; },
});

async function said(messages, first) {
  const result = streamText({
    model, messages, maxOutputTokens: 200, maxRetries: 0, tools: { write }, stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? first : 'none' }),
    onError: ({ error }) => { throw error; },
  });
  return (await result.response).messages;
}

const asked = [{ role: 'user', content: task }];
const answered = [...asked, ...await said(asked, { type: 'tool', toolName: 'write' })];
await said([...answered, { role: 'user', content: 'Thank you.' }], 'none');
