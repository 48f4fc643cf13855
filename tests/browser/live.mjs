// Opens the live page and says as JSON what a person finds there: node live.mjs ADDRESS [FOLDER_FOR_PICTURES]
// It says "grow" on a line of its own when the log is to grow, "kill" when it asks for a kill, and "end" when the server is to end.
import { join } from "node:path";
import { launched, opened } from "./browser.mjs";

const [address, pictures] = process.argv.slice(2);
const browser = await launched();
const say = (word) => process.stdout.write(`${word}\n`);
const all = (page) => page.waitForFunction(() => (document.documentElement.dataset.shown ?? "").includes("slow"));
const tile = (page, what) => page.evaluate((what) => [...document.querySelectorAll(".tile")].find((one) => one.firstChild.textContent === what)?.querySelector("b").textContent, what);
const colours = (page) => page.evaluate(() => [getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.documentElement).color]);
const picture = (page, name) => (pictures ? page.screenshot({ path: join(pictures, `live-${name}.png`), fullPage: true }) : null);

const found = {};
const { page, told, asked } = await opened(browser, address, { viewport: { width: 1280, height: 900 }, colorScheme: "light" });
await all(page);
found.address = page.url();
found.head = await page.$$eval(".pill:not([hidden])", (pills) => pills.map((one) => one.textContent));
found.tables = await page.$$eval(".tables > div", (boxes) => boxes.map((one) => [one.dataset.key, one.querySelectorAll("tbody tr").length]));
found.curve = await page.$eval("#curves svg .line", (line) => line.getAttribute("d").length);
found.light = await colours(page);
await picture(page, "light");
const box = await page.locator("#curves svg").first().boundingBox();
await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
found.reading = await page.$eval("#curves figcaption span", (one) => one.textContent);

const before = await tile(page, "Orders");
say("grow");
await page.waitForFunction((before) => [...document.querySelectorAll(".tile")].some((one) => one.firstChild.textContent === "Orders" && one.querySelector("b").textContent !== before), before);
found.orders = [before, await tile(page, "Orders")];

await page.emulateMedia({ colorScheme: "dark" });
await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
found.dark = await colours(page);
await picture(page, "dark");
await page.setViewportSize({ width: 390, height: 844 });
await page.waitForFunction(() => [...document.querySelectorAll("#curves svg")].every((one) => one.getAttribute("viewBox").split(" ")[2] < 390));
found.phone = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
await picture(page, "phone-dark");
await page.click("#theme");
found.switched = await colours(page);
await picture(page, "phone-light");

await page.reload();
await all(page);
await page.click("#kill");
await page.check("input[value=entries]");
if (pictures) await page.screenshot({ path: join(pictures, "live-kill.png") });
await page.click("#do");
say("kill");
await page.waitForFunction(() => document.getElementById("answer").dataset.tone === "good");
found.answer = await page.textContent("#answer");
await page.waitForFunction(() => document.getElementById("killed").textContent.startsWith("killed: entries"));
await page.click("dialog menu button");

const other = await opened(browser, new URL("/", address).href, { viewport: { width: 390, height: 844 } });
await all(other.page);
found.kill_without_token = await other.page.isVisible("#kill");
found.elements = await other.page.evaluate(() => [document.querySelectorAll("img, iframe, a").length, document.scripts.length]);
found.told = [...told, ...other.told];
found.asked = [...new Set([...asked, ...other.asked])];

say("end");
await other.page.waitForFunction(() => document.getElementById("link").textContent === "not connected");
await browser.close();
say(JSON.stringify(found));
