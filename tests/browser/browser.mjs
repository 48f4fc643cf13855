// A browser for tests of pages, and a page that keeps what went wrong on it.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The packed browser is laid out beside its package, not in a folder that everybody may write to; its libraries come along with it.
const packed = join(dirname(fileURLToPath(import.meta.url)), "node_modules", ".browser");
mkdirSync(packed, { recursive: true });
process.env.TMPDIR = packed;
process.env.AWS_LAMBDA_JS_RUNTIME ??= "nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");
const executablePath = await chromium.executablePath();

export async function launched() {
  const { chromium: playwright } = await import("playwright-core");
  const quiet = ["--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return playwright.launch({ executablePath, headless: true, args: ["--headless=shell", ...quiet], timeout: 30_000 });
}

export async function opened(browser, address, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const told = [], asked = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) told.push(message.text()); });
  page.on("pageerror", (error) => told.push(String(error)));
  page.on("dialog", (dialog) => { told.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!/^(data|blob):/.test(request.url())) asked.push(request.url()); });
  await page.goto(address);
  return { page, told, asked };
}
