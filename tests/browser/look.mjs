// Opens pages in a browser and says as JSON what a person would find there: node look.mjs PAGE HOSTILE [FOLDER_FOR_PICTURES]
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launched, opened as open_at } from "./browser.mjs";

const [page_file, hostile_file, pictures] = process.argv.slice(2);
if (page_file === undefined) process.exit(0); // the browser is laid out: that was all
const browser = await launched();

async function opened(file, options) {
  const found = await open_at(browser, pathToFileURL(file).href, options);
  await found.page.waitForSelector(".plot[data-drawn]");
  return found;
}

async function drawn(page) {
  for (const box of await page.$$(".plot")) {
    await box.scrollIntoViewIfNeeded();
    await box.waitForSelector(":scope .main-svg");
  }
  await page.waitForFunction(() => [...document.querySelectorAll(".plot")].every((box) => box.dataset.drawn));
  return page.$$eval(".plot", (boxes) => boxes.map((box) => ({
    key: box.dataset.figure,
    marks: box.querySelectorAll("path.js-line, .point path, .points path, path.point, .hm image").length,
    size: [box.clientWidth, box.clientHeight],
  })));
}

const colours = (page) => page.evaluate(() => ({
  paper: getComputedStyle(document.documentElement).backgroundColor,
  ink: getComputedStyle(document.documentElement).color,
  plot: document.querySelector(".plot .main-svg").style.background,
  text: document.querySelector(".plot .xtick text").style.fill,
}));

const panel = async (page) => {
  await page.waitForSelector("dialog[open]");
  const found = await page.$eval("dialog", (dialog) => ({
    head: dialog.querySelector("h1").textContent,
    titles: [...dialog.querySelectorAll("h3")].map((one) => one.textContent),
    rows: dialog.querySelectorAll("tbody tr").length,
    quotes: dialog.querySelectorAll(".plot path.js-line").length,
  }));
  return found;
};

const found = {};
{
  const { page, told, asked } = await opened(page_file, { viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  if (pictures) await page.screenshot({ path: join(pictures, "light.png") });
  found.plots = await drawn(page);
  if (pictures) await page.screenshot({ path: join(pictures, "whole.png"), fullPage: true });
  found.buttons = await page.$$eval(".modebar-btn", (all) => [...new Set(all.map((one) => one.dataset.title))]);
  found.light = await colours(page);

  const point = page.locator('[data-figure^="trades-"] .points path').first();
  await point.scrollIntoViewIfNeeded();
  const at = await point.boundingBox();
  await page.mouse.move(at.x + at.width / 2, at.y + at.height / 2);
  await page.mouse.click(at.x + at.width / 2, at.y + at.height / 2);
  found.by_point = await panel(page);
  if (pictures) await page.screenshot({ path: join(pictures, "panel.png") });
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  await page.locator("tr.trade").first().click();
  found.by_row = await panel(page);
  await page.click("dialog header button");

  found.zoomed = await page.evaluate(async () => {
    const range = (key) => document.querySelector(`[data-figure="${key}"]`).layout.xaxis.range.map((one) => new Date(one).getTime());
    const [from, to] = range("equity");
    const moved = new Promise((done) => document.querySelector('[data-figure="feeds"]').on("plotly_relayout", done));
    await Plotly.relayout(document.querySelector('[data-figure="equity"]'), { "xaxis.range[0]": from + (to - from) / 4, "xaxis.range[1]": to - (to - from) / 4 });
    await moved;
    return { equity: range("equity"), feeds: range("feeds"), drawdown: range("drawdown"), before: [from, to] };
  });

  await page.locator("th[data-sort]", { hasText: /^PnL$/ }).click();
  found.sorted = await page.$$eval("tr.trade", (lines) => lines.map((line) => Number(line.cells[7].dataset.value)));

  await page.click("#theme");
  found.switched = await colours(page);

  await page.emulateMedia({ colorScheme: "light" });
  await page.emulateMedia({ colorScheme: "dark" });
  found.dark = await colours(page);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForFunction(() => [...document.querySelectorAll(".plot .main-svg")].every((one) => one.getBoundingClientRect().right <= innerWidth));
  found.phone = await page.evaluate(() => ({ page: document.documentElement.scrollWidth, window: innerWidth }));
  if (pictures) await page.screenshot({ path: join(pictures, "phone.png"), fullPage: true });
  found.told = told;
  found.asked = asked;
}
{
  const { page, told, asked } = await opened(hostile_file, { viewport: { width: 1280, height: 900 } });
  await drawn(page);
  await page.locator("tr.trade").first().click();
  await panel(page);
  found.hostile = await page.evaluate(() => ({
    elements: document.querySelectorAll("img, b, iframe, a").length,
    scripts: document.scripts.length,
    head: document.querySelector("h1").textContent,
    legend: document.querySelector(".legendtext, .hovertext")?.textContent ?? "",
    links: document.querySelectorAll("svg a").length,
  }));
  found.hostile.told = told;
  found.hostile.asked = asked;
}
await browser.close();
process.stdout.write(JSON.stringify(found));
